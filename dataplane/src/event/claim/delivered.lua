-- Records the last number of each conversation that was delivered or is dead.
--
-- KEYS: conversations of one tenant. ARGV: how long they are kept (ms); then a number for each.
for at, conversation in ipairs(KEYS) do
  local last, done = string.match(redis.call('GET', conversation) or '0 ', '^(%d+) (%d*)$')
  if (tonumber(done) or 0) < tonumber(ARGV[at + 1]) then
    redis.call('SET', conversation, last .. ' ' .. ARGV[at + 1], 'PX', ARGV[1])
  end
end
