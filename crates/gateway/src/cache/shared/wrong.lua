-- Notes a pair that was reported as wrong, by the clock of Redis, for gateways that do not listen now, and says so.
-- KEYS: the pairs of its tenant. ARGV: the pair; how long it is known, in ms; how many a tenant may have; the channel; what is said
-- there.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2])
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PUBLISH', ARGV[4], ARGV[5])
return now
