-- One request, one place and so many tokens from all levels, or nothing from any.
--
-- KEYS: of each level its buckets, and the leases of its open reservations: a sorted set of ids by the time they end.
-- ARGV: the id, the time of a lease, the parts of the tokens; of each level the rate and the fullness of its requests, the same of
--       its tokens, and its places; a rate of 0 and places below 0 are no limit.
-- Returns whether it was granted, and of each level the parts of requests and tokens that are taken now, and the open reservations.
local PART, LEVEL = 60000, 5
local id, lease, tokens = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local granted, levels = 1, {}

for level = 1, #KEYS / 2 do
    local at = 4 + (level - 1) * LEVEL
    local r_rate, r_full = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
    local t_rate, t_full, places = tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
    local r, t = look(KEYS[2 * level - 1], at)
    local open = 0
    if places >= 0 then
        -- Leases that end later than any could were given before the clock went back.
        open = redis.call('ZCOUNT', KEYS[2 * level], '(' .. string.format('%.0f', now), now + lease)
    end
    local refused = (r_rate > 0 and r > 0 and r + PART > r_full)
        or (t_rate > 0 and tokens > 0 and t > 0 and t + tokens > t_full)
        or (places >= 0 and open >= places)
    if refused then
        granted = 0
    end
    levels[level] = { r, t, open }
end

local answer = { granted }
for level, state in ipairs(levels) do
    if granted == 1 then
        local at, leases = 4 + (level - 1) * LEVEL, KEYS[2 * level]
        state[1] = state[1] + (tonumber(ARGV[at]) > 0 and PART or 0)
        state[2] = state[2] + (tonumber(ARGV[at + 2]) > 0 and tokens or 0)
        state[3] = state[3] + 1
        keep(KEYS[2 * level - 1], at, state[1], state[2])
        redis.call('ZREMRANGEBYSCORE', leases, '-inf', now)
        redis.call('ZREMRANGEBYSCORE', leases, '(' .. string.format('%.0f', now + lease), '+inf')
        redis.call('ZADD', leases, now + lease, id)
        redis.call('PEXPIRE', leases, lease)
    end
    for part = 1, 3 do
        answer[#answer + 1] = state[part]
    end
end
return answer
