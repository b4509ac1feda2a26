-- Indexes that no question is answered by, and that each sign-in and exchange had to keep; that of rates lay on the column that changes each
-- time, so that no row could be left where it is. Who sweeps looks through what are few rows.
drop index auth.refresh_tokens_parent_idx, auth.audit_logs_instance_id_idx, sovrabase.auth_rates_full_at_idx;
-- Room beside the rows that change most.
alter table sovrabase.auth_rates set (fillfactor = 50);
alter table auth.sessions set (fillfactor = 80);
