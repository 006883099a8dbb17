-- Notes which answers are to go, by the clock of Redis, and says so. They end by themselves, or are passed over by whoever finds
-- them. The same is noted once, by its latest time.
-- KEYS: the notes. ARGV: which answers; how long any of them can live, in ms; the channel; how many notes each tenant, or the
-- operator, may have: when there are more, all answers of that tenant go.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local which = ARGV[1]
local whose = string.match(which, '"tenant":"%x+"')
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2])
local own = {}
for _, note in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  if note ~= which and string.match(note, '"tenant":"%x+"') == whose then
    own[#own + 1] = note
  end
end
if #own >= tonumber(ARGV[4]) then
  for _, note in ipairs(own) do
    redis.call('ZREM', KEYS[1], note)
  end
  which = '{' .. (whose or '') .. '}'
end
redis.call('ZADD', KEYS[1], now, which)
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PUBLISH', ARGV[3], 'clear ' .. string.format('%d', now) .. ' ' .. which)
return now
