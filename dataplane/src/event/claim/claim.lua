-- Claims entries of one POST, all of one tenant, in their order.
--
-- KEYS: the tenant's record; then of each entry: its memo, its conversation, its id's bucket in each tier.
-- ARGV: how long a memo and a conversation are kept (ms); since when nothing that was answered can be lost (us); then
-- of each entry: its id.
-- A last number from before that may not be the last: an event that comes first since then is said to follow nothing,
-- and who delivers it asks the shards what is older.
-- Answers three values an entry: 0 new, 1 taken over, 2 confirmed; its number; the number it follows.
--
-- Reads come first and a memo is not touched when it is taken over: a Redis that refuses writes still knows
-- what it knows.
local TIERS = 4

local time = redis.call('TIME')
local now_s = tonumber(time[1])
local now_us = now_s * 1000000 + tonumber(time[2])
-- Ids that end at or before this are forgotten.
local forgotten = math.max(now_s, tonumber(redis.call('HGET', KEYS[1], 'floor') or 0))
local memo_ms, conversation_ms, since_us = ARGV[1], ARGV[2], tonumber(ARGV[3])

-- Lua would write a number this large as 1.7640200000000e+15.
local function digits(number)
  return string.format('%.0f', number)
end

local function is_confirmed(first, id)
  for at = first, first + TIERS - 1 do
    local ends = redis.call('HGET', KEYS[at], id)
    if ends and tonumber(ends) > forgotten then
      return true
    end
  end
  return false
end

local answer = {}
local function say(kind, sequence, previous)
  answer[#answer + 1] = kind
  answer[#answer + 1] = sequence
  answer[#answer + 1] = previous
end

for entry = 1, #ARGV - 3 do
  local first = 2 + (entry - 1) * (2 + TIERS)
  local memo, conversation = KEYS[first], KEYS[first + 1]
  local claimed = redis.call('GET', memo)
  if is_confirmed(first + 2, ARGV[3 + entry]) then
    say(2, 0, false)
  elseif claimed then
    local sequence, previous = string.match(claimed, '^(%d+) (%d*)$')
    say(1, tonumber(sequence), tonumber(previous) or false)
  else
    -- The last number that was claimed, and the last that is delivered or dead.
    local known = redis.call('GET', conversation) or '0 '
    local last, done = string.match(known, '^(%d+) (%d*)$')
    local claimed = tonumber(last)
    last = math.max(claimed, tonumber(done) or 0)
    local sequence = math.max(last + 1, now_us)
    -- What is delivered was claimed: a record that says otherwise has forgotten claims.
    local previous = claimed > 0 and claimed == last and claimed >= since_us and claimed
    redis.call('SET', conversation, digits(sequence) .. ' ' .. done, 'PX', conversation_ms)
    redis.call('SET', memo, digits(sequence) .. ' ' .. (previous and digits(previous) or ''), 'PX', memo_ms)
    say(0, sequence, previous)
  end
end
return answer
