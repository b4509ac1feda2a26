-- Indexes that no question is answered by, and that each sign-in and exchange had to keep: where one lies on a column that changes each time,
-- PostgreSQL can also not leave the row where it is.
drop index auth.refresh_tokens_parent_idx, auth.refresh_tokens_updated_at_idx, auth.audit_logs_instance_id_idx, sovrabase.auth_rates_full_at_idx;
-- Room beside the rows that change most.
alter table sovrabase.auth_rates set (fillfactor = 50);
alter table auth.sessions set (fillfactor = 80);
