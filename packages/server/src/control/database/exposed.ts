import { readSettings } from '../../metadata/settings.ts'
import type { Cluster } from '../../runtime/engines/postgres/cluster.ts'
import type { Control } from '../context.ts'

/** Names with commas between them. */
export const namesIn = (text: string): string[] => [...new Set(text.split(',').flatMap((name) => name.trim() || []))]

/** The schemas that the API shows. What `alter role authenticator set pgrst.db_schemas` says wins over the setting, as in the API. */
export async function exposedSchemas(control: Control, ref: string, cluster: Cluster): Promise<string[]> {
  const inDatabase = cluster.catalogue.current.settings['pgrst.db_schemas']
  return inDatabase === undefined
    ? [...((await readSettings(control.db, ref, 'rest', control.vault)).value.schemas ?? ['public'])]
    : namesIn(inDatabase)
}

/** Work with an awake cluster. */
export async function withCluster<R>(
  { connector }: Control,
  ref: string,
  reason: string,
  work: (cluster: Cluster) => Promise<R>,
): Promise<R> {
  const hold = await connector.hold(ref, 'db', reason)
  try {
    return await work(hold.attached<Cluster>())
  } finally {
    hold.release()
  }
}
