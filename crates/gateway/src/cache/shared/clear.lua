-- Notes which answers are to go, by the clock of Redis, and says so. They end by themselves, or are passed over by whoever finds
-- them.
-- KEYS: the notes. ARGV: which answers; how long any of them can live, in ms; the channel; how many notes there may be: when there
-- are more, all answers go.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local which = ARGV[1]
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2])
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[4]) then
    redis.call('DEL', KEYS[1])
    which = '{}'
end
local note = string.format('%d', now) .. ' ' .. which
redis.call('ZADD', KEYS[1], now, note)
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PUBLISH', ARGV[3], 'clear ' .. note)
return now
