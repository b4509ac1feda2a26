/** Kinds of requests to the data API, each told to our planner, to pgbench and to the peer. */
import { type Case, ROWS, rowOf, USERS, uuidOf } from './data.ts'

/** Boards of three cards of three notes each. */
export const BOARDS = 3 * USERS
const EACH = 3
export const BULK = 1_000

const own = (table: string): string => `
alter table public.${table} enable row level security;
grant select, insert on public.${table} to anon, authenticated, service_role;
create policy own on public.${table} for all to anon, authenticated
  using (owner = (select auth.uid())) with check (owner = (select auth.uid()));`

/** Beside SCHEMA. A board and what lies on it belong to the owner of the todo of its number. */
export const REST_SCHEMA = `
create table public.boards (id int primary key, owner uuid not null, name text not null);
create table public.cards (id int primary key, board_id int not null references public.boards, owner uuid not null, title text not null);
create table public.notes (id int primary key, card_id int not null references public.cards, owner uuid not null, body text not null);
create table public.entries (id bigint generated always as identity primary key, owner uuid not null default auth.uid(), title text not null,
  done boolean not null default false);
insert into public.boards select t.id, t.owner, 'Board ' || t.id from public.todos t where t.id <= ${BOARDS};
insert into public.cards select b.id * ${EACH} + n, b.id, b.owner, 'Card ' || n from public.boards b, generate_series(0, ${EACH - 1}) n;
insert into public.notes select c.id * ${EACH} + n, c.id, c.owner, 'Note ' || n from public.cards c, generate_series(0, ${EACH - 1}) n;
create index on public.cards (board_id);
create index on public.notes (card_id);
${['boards', 'cards', 'notes', 'entries'].map(own).join('')}
create function public.newest(how_many int) returns setof public.todos language sql stable
  as $$ select * from public.todos where owner = auth.uid() order by id desc limit how_many $$;
grant execute on function public.newest to anon, authenticated, service_role;
`

const boardOf = (user: number, n: number): number => user + USERS * (1 + (n % 2))
const title = 'a new todo'
const bars = { ceiling: 1.5, against: 'full', pocketBase: 0.5 } as const
const tidy = 'truncate public.entries'

export const REST_CASES: readonly Case[] = [
  {
    name: 'read one',
    method: 'GET',
    query: (user, n) => `select=id,title,done&id=eq.${rowOf(user, n)}`,
    pocketBase: (peer, user, n) => ({
      method: 'GET',
      path: `/api/collections/todos/records/${peer.rowId(rowOf(user, n))}?fields=id,title,done`,
    }),
    connections: [32],
    bars,
  },
  {
    name: 'list 20',
    method: 'GET',
    query: (user) => `select=id,title,done,inserted_at&owner=eq.${uuidOf(user)}&order=id&limit=20`,
    pocketBase: () => ({
      method: 'GET',
      path: '/api/collections/todos/records?perPage=20&skipTotal=1&sort=id&fields=id,title,done,created',
    }),
    connections: [32],
    bars,
  },
  {
    name: 'embed 3 levels',
    method: 'GET',
    target: 'boards',
    query: (user, n) => `select=id,name,cards(id,title,notes(id,body))&id=eq.${boardOf(user, n)}`,
    varying: [{ text: String(boardOf(1, 1)), expression: ':board' }],
    pocketBase: (peer, user, n) => ({
      method: 'GET',
      path: `/api/collections/boards/records/${peer.rowId(boardOf(user, n))}?expand=cards_via_board.notes_via_card`,
    }),
    connections: [32],
    bars,
  },
  {
    name: 'insert',
    method: 'POST',
    target: 'entries',
    query: () => '',
    prefer: 'return=minimal',
    body: JSON.stringify({ title }),
    pocketBase: (peer, user) => ({
      method: 'POST',
      path: '/api/collections/entries/records',
      body: JSON.stringify({ title, owner: peer.userId(user) }),
    }),
    connections: [32],
    bars,
    tidy,
  },
  {
    name: `bulk insert of ${BULK}`,
    method: 'POST',
    target: 'entries',
    query: () => '',
    prefer: 'return=minimal',
    body: JSON.stringify(Array.from({ length: BULK }, () => ({ title }))),
    pocketBase: (peer, user) => ({
      method: 'POST',
      path: '/api/batch',
      body: JSON.stringify({
        requests: Array.from({ length: BULK }, () => ({
          method: 'POST',
          url: '/api/collections/entries/records',
          body: { title, owner: peer.userId(user) },
        })),
      }),
    }),
    connections: [32],
    bars,
    tidy,
  },
  {
    name: 'RPC',
    method: 'POST',
    target: 'rpc/newest',
    query: () => '',
    body: '{"how_many":5}',
    connections: [32],
    bars,
  },
]

/** Rows of boards, cards and notes for the peer: number, number of what it lies on, user. */
export const boardRows = (): { boards: Tree[]; cards: Tree[]; notes: Tree[] } => {
  const boards = Array.from({ length: Math.min(BOARDS, ROWS) }, (_, i) => ({ id: i + 1, on: 0, user: (i + 1) % USERS }))
  const below = (rows: readonly Tree[]) =>
    rows.flatMap(({ id, user }) => Array.from({ length: EACH }, (_, n) => ({ id: id * EACH + n, on: id, user })))
  const cards = below(boards)
  return { boards, cards, notes: below(cards) }
}

export interface Tree {
  readonly id: number
  readonly on: number
  readonly user: number
}
