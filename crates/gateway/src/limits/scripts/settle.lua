-- What was really used in place of what was reserved, and the places free; once, however often it is asked, because a level is
-- settled only while the reservation is open there.
--
-- KEYS: as those of the reservation.
-- ARGV: the id, the parts of requests to give back, those of tokens, those of tokens to take; of each level as for the
--       reservation.
-- Returns the number of levels that were settled.
local LEVEL = 5
local id = ARGV[1]
local back_r, back_t, take_t = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local settled = 0

for level = 1, #KEYS / 2 do
    local at = 5 + (level - 1) * LEVEL
    if redis.call('ZREM', KEYS[2 * level], id) == 1 then
        settled = settled + 1
        if back_r + back_t + take_t > 0 then
            local r, t = look(KEYS[2 * level - 1], at)
            r, t = math.max(0, r - back_r), math.max(0, t - back_t)
            keep(KEYS[2 * level - 1], at, r, tonumber(ARGV[at + 2]) > 0 and t + take_t or 0)
        end
    end
end
return settled
