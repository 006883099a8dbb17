-- What a request really needed in the place of what was reserved, and its places free: once, however often it is asked, because a
-- level is settled only while the reservation is open there.
--
-- KEYS: as those of the reservation.
-- ARGV: the id, the parts of requests and of tokens to give back, those of tokens to take besides; the numbers of each level.
-- Returns the number of levels that were settled.
local id, r_back, t_back, t_more = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local settled = 0

for level = 1, #KEYS / 2 do
    if redis.call('ZREM', KEYS[2 * level], id) == 1 then
        settled = settled + 1
        local at = 5 + (level - 1) * LEVEL
        local r, t = look(KEYS[2 * level - 1])
        r, t = r or by(nil, ARGV[at], ARGV[at + 1]), t or by(nil, ARGV[at + 2], ARGV[at + 3])
        r[TAKEN], t[TAKEN] = math.max(0, r[TAKEN] - r_back), math.max(0, t[TAKEN] - t_back)
        take(t, t_more)
        keep(KEYS[2 * level - 1], r, t)
    end
end
return settled
