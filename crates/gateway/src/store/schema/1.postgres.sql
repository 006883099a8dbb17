CREATE TABLE gateway_teams (
    id TEXT NOT NULL PRIMARY KEY,
    revision BIGINT NOT NULL,
    made BIGINT NOT NULL UNIQUE,
    name TEXT NOT NULL UNIQUE,
    settings TEXT NOT NULL,
    created BIGINT NOT NULL
);
CREATE INDEX gateway_teams_revision ON gateway_teams (revision);

CREATE TABLE gateway_keys (
    id TEXT NOT NULL PRIMARY KEY,
    revision BIGINT NOT NULL,
    made BIGINT NOT NULL UNIQUE,
    hash BYTEA NOT NULL UNIQUE,
    last_four TEXT NOT NULL,
    name TEXT NOT NULL,
    team TEXT REFERENCES gateway_teams (id),
    owner TEXT,
    settings TEXT NOT NULL,
    created BIGINT NOT NULL,
    revoked BIGINT
);
CREATE INDEX gateway_keys_revision ON gateway_keys (revision);
CREATE INDEX gateway_keys_team ON gateway_keys (team);
CREATE UNIQUE INDEX gateway_keys_name ON gateway_keys (name) WHERE revoked IS NULL;

CREATE TABLE gateway_audit (
    number BIGINT NOT NULL PRIMARY KEY,
    at_ms BIGINT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    details TEXT NOT NULL,
    hash BYTEA NOT NULL
);
CREATE FUNCTION gateway_audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'gateway_audit is append-only'; END $$;
CREATE TRIGGER gateway_audit_keeps_its_rows BEFORE UPDATE OR DELETE OR TRUNCATE ON gateway_audit
FOR EACH STATEMENT EXECUTE FUNCTION gateway_audit_is_append_only();
