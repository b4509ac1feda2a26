-- Answers to batches of the data API that came with an Idempotency-Key: the project's own data, so kept with it. Written in the batch's
-- transaction by the gateway's sign-in role itself; nobody else reads them.
create table sovrabase.idempotent_answers (
  -- Role and subject of the caller: a key is nobody else's.
  actor text not null,
  key text not null,
  fingerprint text not null,
  body text,
  expires_at timestamptz not null,
  primary key (actor, key)
);
create index idempotent_answers_expiry on sovrabase.idempotent_answers (expires_at);
grant select, insert, update, delete on sovrabase.idempotent_answers to sovrabase_gateway;
