-- The buckets of a level: `r` and `t` are the parts of requests and of tokens that have been taken and have not come back (a unit
-- has 60,000 parts), `rf` and `tf` what the buckets held when they were last used, `at` when that was. A level that nobody knows
-- has had nothing taken. All numbers are whole and below 2^53, so that doubles hold them exactly.
local MOST = 6000000000000000

-- What is still taken; nothing where there is no limit, `rate` 0. A clock that went back stands still for a moment.
local function still(taken, was, full, elapsed, rate)
    taken, was = tonumber(taken) or 0, tonumber(was) or 0
    if rate == 0 then
        return 0
    end
    -- A limit that was lowered is meant for what comes.
    if full < was then
        taken = math.min(taken, full)
    end
    return math.max(0, taken - elapsed * rate)
end

-- The taken requests and tokens of the level at `key`, whose limits are at `at` in ARGV.
local function look(key, at)
    local r_rate, r_full, t_rate, t_full =
        tonumber(ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
    if r_rate == 0 and t_rate == 0 then
        return 0, 0
    end
    local was = redis.call('HMGET', key, 'r', 'rf', 't', 'tf', 'at')
    local elapsed = math.max(0, now - (tonumber(was[5]) or now))
    return still(was[1], was[2], r_full, elapsed, r_rate), still(was[3], was[4], t_full, elapsed, t_rate)
end

-- Keeps them, for as long as they differ from those of a level that nobody knows.
local function keep(key, at, r, t)
    local r_rate, r_full, t_rate, t_full =
        tonumber(ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
    if r_rate == 0 and t_rate == 0 then
        return
    end
    r, t = math.min(r, MOST), math.min(t, MOST)
    local wait = math.max(r_rate > 0 and r / r_rate or 0, t_rate > 0 and t / t_rate or 0)
    redis.call('HSET', key, 'r', r, 'rf', r_full, 't', t, 'tf', t_full, 'at', now)
    redis.call('PEXPIRE', key, math.ceil(wait) + 1000)
end
