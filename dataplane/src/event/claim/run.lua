-- Since when this very process of Redis runs as the one that is asked, in microseconds.
--
-- KEYS: where that is kept. ARGV: what this process calls itself, anew at each start.
--
-- What is kept names another process after a restart, a restored dump and a failover alike: in each of them writes
-- may be lost that had been answered.
local known = redis.call('GET', KEYS[1]) or ''
local run, since = string.match(known, '^(%S+) (%d+)$')
if run ~= ARGV[1] then
  local time = redis.call('TIME')
  since = string.format('%.0f', tonumber(time[1]) * 1000000 + tonumber(time[2]))
  redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. since)
end
return tonumber(since)
