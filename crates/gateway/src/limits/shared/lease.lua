-- The reservation is still open: its leases begin anew, also those that have ended or were lost.
--
-- KEYS: the leases of each level.
-- ARGV: the id, the time of a lease.
for level = 1, #KEYS do
    redis.call('ZADD', KEYS[level], now + ARGV[2], ARGV[1])
    redis.call('PEXPIRE', KEYS[level], ARGV[2])
end
return #KEYS
