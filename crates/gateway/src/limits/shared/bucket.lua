-- The two buckets of a level, in the parts in which gateways count (60,000 to a unit): what has been taken and has not come back,
-- what comes back in a millisecond, and what fits in; each for requests (`r`, `rr`, `rf`) and for tokens (`t`, `tr`, `tf`), with the
-- time when it was so (`at`). Of a level that nobody knows nothing has been taken. A rate of 0 is no limit. All numbers are whole
-- and below 2^53, so that doubles hold them exactly.
local TAKEN, RATE, FULL, CHANGED = 1, 2, 3, 4
local MOST = 6000000000000000
-- Numbers of a level in ARGV: rate and fullness of requests, the same of tokens, places.
local LEVEL = 5

local function later(taken, rate, full, elapsed)
    rate = tonumber(rate) or 0
    if rate == 0 then
        return nil
    end
    return { math.max(0, taken - elapsed * rate), rate, tonumber(full) }
end

-- The requests and the tokens of the level at `key`, as they are now.
local function look(key)
    local was = redis.call('HMGET', key, 'r', 'rr', 'rf', 't', 'tr', 'tf', 'at')
    local at = tonumber(was[7]) or now
    -- A clock that went back stands still, but only once: it goes on from here, whether anything is taken or not.
    if at > now then
        redis.call('HSET', key, 'at', now)
    end
    local elapsed = math.max(0, now - at)
    return later(was[1], was[2], was[3], elapsed), later(was[4], was[5], was[6], elapsed)
end

-- The bucket by the limits that hold now. Whoever lowers a limit means what comes, not what has been.
local function by(bucket, rate, full)
    rate, full = tonumber(rate), tonumber(full)
    local taken = bucket and rate > 0 and bucket[TAKEN] or 0
    if bucket and full < bucket[FULL] then
        taken = math.min(taken, full)
    end
    return { taken, rate, full, bucket and (bucket[RATE] ~= rate or bucket[FULL] ~= full) }
end

local function allows(bucket, cost)
    return bucket[RATE] == 0 or cost == 0 or bucket[TAKEN] == 0 or bucket[TAKEN] + cost <= bucket[FULL]
end

local function take(bucket, cost)
    if bucket[RATE] > 0 then
        bucket[TAKEN] = math.min(bucket[TAKEN] + cost, MOST)
    end
end

-- Keeps them until they are those of a level that nobody knows, and a second.
local function keep(key, r, t)
    if r[RATE] == 0 and t[RATE] == 0 then
        return
    end
    local wait = 0
    for _, bucket in ipairs({ r, t }) do
        if bucket[RATE] > 0 then
            wait = math.max(wait, math.ceil(bucket[TAKEN] / bucket[RATE]))
        end
    end
    redis.call('HSET', key, 'r', r[TAKEN], 'rr', r[RATE], 'rf', r[FULL], 't', t[TAKEN], 'tr', t[RATE], 'tf', t[FULL], 'at', now)
    redis.call('PEXPIRE', key, wait + 1000)
end
