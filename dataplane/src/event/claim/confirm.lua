-- Confirms ids of one tenant: remembers each for its window and drops its memo.
--
-- KEYS: the tenant's record; then of each id: its memo, its bucket in each tier.
-- ARGV: how many ids the tenant may have; then of each: the id, its window (ms).
-- Answers how many ids were forgotten before their time.
--
-- A bucket is a hash of id -> second at which it ends; its empty field holds a second at or before the first
-- of them. An id goes to the lowest tier that has room, so that few ids need few buckets. The record counts
-- ids by the hour in which they end; what is over the bound is forgotten by raising `floor`, oldest hour first,
-- and leaves its bucket when the bucket is full.
local TIERS = 4
local ROOM = 128
-- A full bucket is searched for what has ended when this much of it may have, not for every second.
local PATIENCE_S = 3600

local record, max = KEYS[1], tonumber(ARGV[1])
local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local now_s = tonumber(time[1])
local floor = tonumber(redis.call('HGET', record, 'floor') or 0)
local early = 0

local function keep(key, until_s)
  local seconds = until_s - now_s
  if redis.call('TTL', key) < seconds then
    redis.call('EXPIRE', key, seconds)
  end
end

-- Drops what has ended; the second at which the next one ends.
local function purge(key)
  local forgotten = math.max(now_s, floor)
  local all, ended, soonest = redis.call('HGETALL', key), {}, nil
  for at = 1, #all, 2 do
    local ends = tonumber(all[at + 1])
    if all[at] ~= '' then
      if ends <= forgotten then
        ended[#ended + 1] = all[at]
      elseif not soonest or ends < soonest then
        soonest = ends
      end
    end
  end
  for at = 1, #ended, 1000 do
    redis.call('HDEL', key, unpack(ended, at, math.min(at + 999, #ended)))
  end
  if soonest then
    redis.call('HSET', key, '', soonest)
  else
    redis.call('DEL', key)
  end
  return soonest
end

local function sweep()
  local hours, total = {}, tonumber(redis.call('HGET', record, 'total') or 0)
  for _, field in ipairs(redis.call('HKEYS', record)) do
    hours[#hours + 1] = tonumber(field)
  end
  table.sort(hours)
  for _, hour in ipairs(hours) do
    local ended = (hour + 1) * 3600 <= now_s
    if not ended and total <= max then
      break
    end
    local ids = tonumber(redis.call('HGET', record, hour))
    redis.call('HDEL', record, hour)
    total = total - ids
    if not ended then
      early = early + ids
      floor = (hour + 1) * 3600 - 1
    end
  end
  redis.call('HSET', record, 'total', total, 'floor', floor)
end

-- The tier of an id that is remembered, or of the first bucket with room.
local function place(first, id)
  local free, free_soonest
  for at = first, first + TIERS - 1 do
    local found = redis.call('HMGET', KEYS[at], '', id)
    local soonest, ends = tonumber(found[1]), tonumber(found[2])
    if ends then
      return at, soonest, ends
    end
    if not free then
      local full = soonest and redis.call('HLEN', KEYS[at]) > ROOM
      if full and (soonest <= floor or soonest + PATIENCE_S <= now_s) then
        soonest = purge(KEYS[at])
        full = soonest and redis.call('HLEN', KEYS[at]) > ROOM
      end
      if not full or at == first + TIERS - 1 then
        free, free_soonest = at, soonest
      end
    end
  end
  return free, free_soonest, 0
end

local added = {}
for n = 1, (#ARGV - 1) / 2 do
  local first = 2 + (n - 1) * (1 + TIERS)
  local id, window_ms = ARGV[2 * n], tonumber(ARGV[2 * n + 1])
  local until_s = math.ceil((now_ms + window_ms) / 1000)
  local at, soonest, ends = place(first + 1, id)
  local forgotten = math.max(now_s, floor)
  if ends <= forgotten and until_s > forgotten then
    local bucket = KEYS[at]
    if not soonest or until_s < soonest then
      redis.call('HSET', bucket, '', until_s)
    end
    redis.call('HSET', bucket, id, until_s)
    keep(bucket, until_s)
    local hour = math.floor(until_s / 3600)
    added[hour] = (added[hour] or 0) + 1
  elseif until_s <= floor then
    early = early + 1
  end
  redis.call('DEL', KEYS[first])
end

local total = 0
for hour, ids in pairs(added) do
  redis.call('HINCRBY', record, hour, ids)
  total = redis.call('HINCRBY', record, 'total', ids)
  -- The record outlives every hour that it counts.
  keep(record, (hour + 2) * 3600)
end
if total > max then
  sweep()
end
return early
