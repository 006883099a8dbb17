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
    hash BLOB NOT NULL UNIQUE,
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
    hash BLOB NOT NULL
);
CREATE TRIGGER gateway_audit_keeps_rows BEFORE DELETE ON gateway_audit
BEGIN SELECT RAISE(ABORT, 'gateway_audit is append-only'); END;
CREATE TRIGGER gateway_audit_keeps_words BEFORE UPDATE ON gateway_audit
BEGIN SELECT RAISE(ABORT, 'gateway_audit is append-only'); END;
