import { nodePg } from '../../base/later.ts'
import type { Log } from '../../base/log.ts'
import { SYSTEM } from '../../metadata/change.ts'
import { claimFact, getFact } from '../../metadata/facts.ts'
import { writeSettings } from '../../metadata/settings.ts'
import type { Control } from '../context.ts'
import { findOrganisation, insertOrganisation } from '../organisations/store.ts'
import { createProject } from '../projects/verbs.ts'

const FACT = 'demo.made'
export const DEMO_ORGANISATION = 'demo'
export const DEMO_PROJECT = 'demo'
/** Owns the demo's rows; `sovra auth token demo --sub …` signs its tokens. */
export const DEMO_USER = '00000000-0000-4000-8000-000000000001'

/** Rows that everyone reads and their owner alone writes: the smallest table that shows row-level security. */
const SQL = `
create table if not exists public.todos (
  id bigint generated always as identity primary key,
  title text not null check (length(title) between 1 and 200),
  done boolean not null default false,
  owner uuid not null default auth.uid(),
  created_at timestamptz not null default now()
);
alter table public.todos enable row level security;
grant select on public.todos to anon, authenticated;
grant insert, update, delete on public.todos to authenticated;
drop policy if exists "everyone reads" on public.todos;
create policy "everyone reads" on public.todos for select to anon, authenticated using (true);
drop policy if exists "owners write" on public.todos;
create policy "owners write" on public.todos for all to authenticated
  using (owner = (select auth.uid())) with check (owner = (select auth.uid()));
create index if not exists todos_owner on public.todos (owner);
insert into public.todos (title, done, owner)
  select title, done, '${DEMO_USER}' from (values ('Read the first row', true), ('Write one of your own', false), ('Break nothing of the neighbours', false)) t(title, done)
  where not exists (select from public.todos);
`

async function fill(control: Control, ref: string): Promise<void> {
  const hold = await control.connector.hold(ref, 'db', 'demo')
  const { endpoint, service } = hold
  const client = new (nodePg().Client)({
    host: endpoint.host,
    port: endpoint.port,
    user: 'postgres',
    database: 'postgres',
    password: service.secrets.postgres ?? '',
  })
  try {
    await client.connect()
    await client.query(SQL)
  } finally {
    await client.end().catch(() => {})
    hold.release()
  }
}

/** Made once in the life of an installation; deleted, it does not come back. Answers its ref while it is there. */
export async function ensureDemo(control: Control, log: Log): Promise<string | null> {
  const made = await getFact<string>(control.db, FACT)
  if (made !== undefined) {
    const living = await control.db
      .selectFrom('projects')
      .select('ref')
      .where('ref', '=', made)
      .where('state', '=', 'active')
      .executeTakeFirst()
    return living?.ref ?? null
  }
  const organisation =
    (await findOrganisation(control.db, DEMO_ORGANISATION))?.id ??
    (await control.change(SYSTEM, (c) => insertOrganisation(c, { name: DEMO_ORGANISATION, title: 'Demo', now: control.now() })))
  // A start that was killed half-way has left the project: it is filled then, not made twice.
  const left = await control.db
    .selectFrom('projects')
    .select('ref')
    .where('organisation_id', '=', organisation)
    .where('name', '=', DEMO_PROJECT)
    .where('state', '=', 'active')
    .executeTakeFirst()
  const ref = left?.ref ?? (await createProject(control, SYSTEM, organisation, { name: DEMO_PROJECT, labels: { demo: 'true' } }))
  await fill(control, ref)
  // It has no mail server: its users confirm by themselves, and whoever tries it need not look into an outbox.
  await control.change(SYSTEM, (c) => writeSettings(c, ref, 'auth', { email_autoconfirm: true }, { vault: control.vault }))
  await control.change(SYSTEM, (c) => claimFact(c.trx, FACT, ref))
  log.info({ project: ref }, 'made the demo project')
  return ref
}
