create type mood as enum ('happy', 'so-so', 'say "hi"');
create type place as (street text, zip integer);
create domain email as text check (value like '%@%');
create schema api;
create type api.kind as enum ('a', 'b');
create table people (
  id bigint generated always as identity primary key,
  "full name" text not null,
  email email,
  mood mood not null default 'happy',
  moods mood[],
  home place,
  kind api.kind,
  data jsonb not null default '{}',
  born date,
  code varchar(20)[] not null default '{}',
  price numeric(10, 2),
  doubled int generated always as (2) stored
);
create table todos (
  id uuid primary key default gen_random_uuid(),
  owner bigint not null references people,
  title text not null,
  done boolean not null default false,
  class int
);
create table details (todo uuid primary key references todos, note text);
create table empty ();
create view open_todos as select id, owner, title from todos where not done;
create view counts as select owner, count(*) as n from todos group by owner;
create function hello(name text default 'you', times int default 1) returns text language sql stable as 'select name';
create function nothing() returns void language sql as '';
create function todos_of(person bigint) returns setof todos language sql stable as 'select * from todos where owner = person';
create function one_todo(wanted uuid) returns todos language sql stable as 'select * from todos where id = wanted';
create function stats() returns table (owner bigint, n bigint) language sql stable as 'select owner, count(*) from todos group by owner';
create function over(a int) returns int language sql as 'select a';
create function over(b text) returns text language sql as 'select b';
create function initials(people) returns text language sql stable as 'select left($1."full name", 1)';
create function touched() returns trigger language plpgsql as 'begin return new; end';
create function where_is(at place) returns mood language sql as $$ select 'happy'::mood $$;
create table api.things (id int primary key, kind api.kind not null, person bigint references public.people);
create function nameless(int, text) returns int language sql as 'select 1';
create function whole(json) returns json language sql as 'select $1';
