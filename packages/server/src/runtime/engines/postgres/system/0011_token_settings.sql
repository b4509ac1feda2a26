-- What the database says of the tokens of its requests. Never of the keys that sign them.
grant set on parameter pgrst.jwt_aud to postgres;
grant set on parameter pgrst.jwt_role_claim_key to postgres;
