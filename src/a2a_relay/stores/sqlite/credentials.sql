-- versions
SELECT
    (SELECT CAST(value AS INTEGER) FROM facts WHERE name = 'credentials_changed'),
    (SELECT CAST(value AS INTEGER) FROM facts WHERE name = 'credentials_removed');

-- count_change
UPDATE facts SET value = CAST(value AS INTEGER) + 1 WHERE name = 'credentials_changed';

-- note_removal
UPDATE facts SET value = (SELECT value FROM facts WHERE name = 'credentials_changed')
WHERE name = 'credentials_removed';

-- tenants
SELECT name, created_at, state, takes_legacy, networks, limits, issuers, on_second_session, takeover_hold_seconds
FROM tenants WHERE changed > ?;

-- keys
SELECT id, tenant, name, role, created_at, agent, form, scopes, agents, networks, limits, created_by, expires_at,
    revoked_at, last_used_at, proof_key
FROM keys WHERE changed > ? ORDER BY created_at, id;

-- key
SELECT id, tenant, name, role, created_at, agent, form, scopes, agents, networks, limits, created_by, expires_at,
    revoked_at, last_used_at, proof_key
FROM keys WHERE id = ?;

-- secrets
SELECT key, digest, prefix, key_secrets.created_at, key_secrets.expires_at, sealed
FROM keys JOIN key_secrets ON key = id WHERE changed > ? ORDER BY key, place;

-- legacy_uses
SELECT tenant, identity, role, first_at, last_at FROM legacy_uses ORDER BY last_at;

-- is_name_taken
SELECT 1 FROM keys WHERE tenant = ? AND name = ? AND id != ?;

-- put_tenant
INSERT OR REPLACE INTO tenants (
    name, created_at, state, takes_legacy, networks, limits, issuers, on_second_session, takeover_hold_seconds, changed
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- put_key
INSERT INTO keys (
    id, tenant, name, role, created_at, agent, form, scopes, agents, networks, limits, created_by, expires_at,
    revoked_at, last_used_at, proof_key, changed
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- put_secret
INSERT INTO key_secrets (key, place, digest, prefix, created_at, expires_at, sealed) VALUES (?, ?, ?, ?, ?, ?, ?);

-- remove_key
DELETE FROM keys WHERE id = ?;

-- remove_tenant
DELETE FROM tenants WHERE name = ?;

-- remove_keys
DELETE FROM keys WHERE tenant = ?;

-- remove_legacy_uses
DELETE FROM legacy_uses WHERE tenant = ?;

-- note_use
UPDATE keys SET last_used_at = ?1 WHERE id = ?2 AND coalesce(last_used_at, 0) < ?1;

-- note_legacy
INSERT INTO legacy_uses (tenant, identity, role, first_at, last_at) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (tenant, identity, role) DO UPDATE SET last_at = max(last_at, excluded.last_at);

-- trim_legacy
DELETE FROM legacy_uses WHERE (tenant, identity, role) IN (
    SELECT tenant, identity, role FROM legacy_uses ORDER BY last_at DESC LIMIT -1 OFFSET ?
);
