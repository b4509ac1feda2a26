import { Gate } from './gate.ts'

/** A project with sessions, or sign-ins under way. */
export interface Project {
  readonly ref: string
  sessions: number
  users: number
  limit: number
  readonly gate: Gate
}

/** The projects that the listener has to do with at the moment. */
export class Projects {
  readonly #projects = new Map<string, Project>()
  /** Sign-ins under way at one cluster. */
  readonly #handshakes: number

  constructor(handshakes: number) {
    this.#handshakes = handshakes
  }

  sessions(ref: string): number {
    return this.#projects.get(ref)?.sessions ?? 0
  }

  /** `leave()` once for each `enter()`. `limit`: of its sessions, as of now. */
  enter(ref: string, limit: number): Project {
    const project = this.#projects.get(ref) ?? this.#add(ref, limit)
    project.limit = limit
    project.users++
    return project
  }

  leave(project: Project): void {
    if (--project.users === 0) this.#projects.delete(project.ref)
  }

  #add(ref: string, limit: number): Project {
    const project: Project = {
      ref,
      sessions: 0,
      users: 0,
      limit,
      gate: new Gate(() => Math.max(1, Math.min(this.#handshakes, project.limit - project.sessions))),
    }
    this.#projects.set(ref, project)
    return project
  }
}
