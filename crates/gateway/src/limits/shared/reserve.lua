-- One request, one place and so many tokens from all levels, or nothing from any.
--
-- KEYS: of each level its buckets, and the leases of its open reservations: a sorted set of ids by the time they end.
-- ARGV: the id, the time of a lease, the parts of the tokens; the numbers of each level, of which places below 0 are no limit.
-- Returns whether it was granted, and of each level what is taken of requests and of tokens now, in parts, and the open
-- reservations where they are limited.
local PART = 60000
local id, lease, tokens = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local granted, levels = true, {}

for level = 1, #KEYS / 2 do
    local at = 4 + (level - 1) * LEVEL
    local r, t = look(KEYS[2 * level - 1])
    r, t = by(r, ARGV[at], ARGV[at + 1]), by(t, ARGV[at + 2], ARGV[at + 3])
    local places, open = tonumber(ARGV[at + 4]), 0
    if places >= 0 then
        -- A lease that ends later than any could was given before the clock went back.
        open = redis.call('ZCOUNT', KEYS[2 * level], '(' .. string.format('%.0f', now), now + lease)
    end
    granted = granted and allows(r, PART) and allows(t, tokens) and (places < 0 or open < places)
    levels[level] = { r, t, open }
end

local answer = { granted and 1 or 0 }
for level, state in ipairs(levels) do
    local r, t = state[1], state[2]
    if granted then
        local leases = KEYS[2 * level]
        take(r, PART)
        take(t, tokens)
        state[3] = state[3] + 1
        keep(KEYS[2 * level - 1], r, t)
        redis.call('ZREMRANGEBYSCORE', leases, '-inf', now)
        redis.call('ZREMRANGEBYSCORE', leases, '(' .. string.format('%.0f', now + lease), '+inf')
        redis.call('ZADD', leases, now + lease, id)
        redis.call('PEXPIRE', leases, lease)
    elseif r[CHANGED] or t[CHANGED] then
        -- From now on it comes back by the limits that hold now.
        keep(KEYS[2 * level - 1], r, t)
    end
    answer[#answer + 1] = r[TAKEN]
    answer[#answer + 1] = t[TAKEN]
    answer[#answer + 1] = state[3]
end
return answer
