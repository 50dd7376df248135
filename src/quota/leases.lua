-- The permits of one (account, operation), leased to replicas. One hash without expiry: several keys, or one that is
-- evicted, would read as "all permits are free". The rule and its proof are in docs/replicas.md.
--
--   run, epoch      of which run and which replication history of Redis, and since its state began, these leases tell
--   event           counts the calls of this script in the epoch
--   open            1 once somebody has waited out a whole lease since the epoch began
--   lease           how long the longest lease is that may be out, in milliseconds
--   p:<i>           permit i is out: <replica>|<event of the grant>|<stamp>
--   f:<replica>     the fence: <last call>|<its event>
--   w:<replica>     who waits there: <interactive>|<bulk>|<background>|<stamp>
--   since, rr1..3   permits since bulk last had its turn; the replica that last had its turn, by class
--   turns           whose turn was decided and is not taken yet: <class>:<replica>, in order
--   trip            how long a call takes, as whoever made one last told, in milliseconds
--   n, n_until      the lowest limit that a replica named of late
--   pause_until, pause_ms
--   budget, step_at how much of the limit is used after a throttle, and when a step of it comes back
--
-- Nothing that the bound stands on reads this machine's clock: `now` serves fairness, forecasts, pauses, the budget's
-- way back and differing limits.

local key = KEYS[1]
local replica, call, sync, epoch, nonce = ARGV[1], tonumber(ARGV[2]), ARGV[3] == '1', ARGV[4], ARGV[5]
local own, known, limit = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local old, old_lease = tonumber(ARGV[9]), tonumber(ARGV[10])
local mine = { tonumber(ARGV[11]), tonumber(ARGV[12]), tonumber(ARGV[13]) }
local most, pause, fresh, trip = tonumber(ARGV[14]), tonumber(ARGV[15]), tonumber(ARGV[16]), tonumber(ARGV[17])
local latest = tonumber(ARGV[18])
local LISTED, BULK_TURN, LIMIT_MS, LONGEST_PAUSE_MS = 19, 5, 60000, 60000
local STEP_MS, STEP_PART = 10000, 10

-- A Redis that was a replica for a while has the last state of another, and is the same run; its history is not the same.
local info = redis.call('INFO', 'server', 'replication')
local history = string.match(info, 'master_replid:(%x+)') or ''
local run = string.match(info, 'run_id:(%x+)') .. '.' .. history
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local function text(number) return string.format('%.0f', number) end

-- What this script does not write is no state, of whatever type the key is: it heals as a lost one does.
local SHAPES = {
  run = '^%x+%.%x*$', epoch = '^%x+$', turns = '^[%x:,]*$', rr1 = '^%x*$', rr2 = '^%x*$', rr3 = '^%x*$',
  p = '^%x+|%d+|%d+$', f = '^%d+|%d+$', w = '^%d+|%d+|%d+|%d+$',
}
local NUMBER, DIGITS = '^%d+$', 16
local h, flat, is_ours = {}, {}, true
if redis.call('TYPE', key).ok == 'hash' then flat = redis.call('HGETALL', key) end
for at = 1, #flat, 2 do
  local field, value = flat[at], flat[at + 1]
  local shape = SHAPES[string.match(field, '^(%a):') or field]
  is_ours = is_ours and string.match(value, shape or NUMBER) and (shape or #value <= DIGITS)
  h[field] = value
end

-- What the caller was told last must be known here: else this is an older state of the epoch, put back somehow. Its fence
-- tells best, since the calls of others count events as well.
local fence, fenced_at = string.match(h['f:' .. replica] or '', '^(%d+)|(%d+)$')
local seen = tonumber(fenced_at or h.event) or 0
local is_older = epoch == h.epoch and latest > seen
if not (is_ours and h.epoch and h.event and h.open and h.lease) or h.run ~= run or is_older then
  redis.call('DEL', key)
  h = { run = run, epoch = nonce, event = '0', open = '0', lease = '0' }
  redis.call('HSET', key, 'run', run, 'epoch', nonce, 'event', '0', 'open', '0', 'lease', '0')
  fence = nil
end
local function set(field, value) redis.call('HSET', key, field, value) end
local function unset(field) redis.call('HDEL', key, field) end

-- A call that was given up, and that this Redis came to only after a later one.
if fence and call <= tonumber(fence) then
  return { 'fenced', h.epoch }
end
local event = tonumber(h.event) + 1
set('event', text(event))
set('f:' .. replica, text(call) .. '|' .. text(event))

-- Who has what, and what comes back.
local out, count = {}, 0
local want = {}
for field, value in pairs(h) do
  local i = string.match(field, '^p:(%d+)$')
  if i then
    local holder, granted, stamp = string.match(value, '^(%x+)|(%d+)|(%d+)$')
    out[tonumber(i)] = { holder = holder, event = tonumber(granted), at = tonumber(stamp) }
    count = count + 1
  end
  local other = string.match(field, '^w:(%x+)$')
  if other and other ~= replica then
    local a, b, c, stamp = string.match(value, '^(%d+)|(%d+)|(%d+)|(%d+)$')
    local age = now - tonumber(stamp)
    if age >= 0 and age < fresh then
      want[other] = { tonumber(a), tonumber(b), tonumber(c) }
    else
      unset(field)
    end
  end
end
local function free(i)
  out[i] = nil
  count = count - 1
  unset('p:' .. i)
end
local is_known = epoch == h.epoch
if is_known then
  -- After a lost answer the list is all that the replica holds; else it is what it gives back.
  local listed = {}
  for at = LISTED, #ARGV do
    local i, granted = string.match(ARGV[at], '^(%d+):(%d+)$')
    listed[tonumber(i)] = tonumber(granted)
  end
  for i, lease in pairs(out) do
    if lease.holder == replica and (listed[i] == lease.event) ~= sync then free(i) end
  end
end

-- How long a lease is: the longest that anybody may still hold.
local lease = tonumber(h.lease)
if h.open ~= '1' then
  lease = math.max(lease, own, known)
elseif count == 0 then
  lease = own
else
  lease = math.max(lease, own)
end
set('lease', text(lease))

-- The caller has waited out a whole lease, by its own clock, since it was told of event `old`.
if is_known and old >= 1 and old_lease >= lease then
  if h.open ~= '1' then
    h.open = '1'
    set('open', '1')
  end
  local holds = {}
  for i, held in pairs(out) do
    if held.holder ~= replica and held.event <= old then free(i) else holds[held.holder] = true end
  end
  for field, value in pairs(h) do
    local other = string.match(field, '^f:(%x+)$')
    if other and other ~= replica and not holds[other] and tonumber(string.match(value, '|(%d+)$')) <= old then
      unset(field)
    end
  end
end

-- Replicas that disagree about the limit keep to the lowest.
local lowest, lowest_for = tonumber(h.n or limit), tonumber(h.n_until or 0) - now
if lowest < limit and lowest_for > 0 and lowest_for <= LIMIT_MS then
  limit = lowest
else
  redis.call('HSET', key, 'n', text(limit), 'n_until', text(now + LIMIT_MS))
end

local pause_until, pause_ms = tonumber(h.pause_until or 0), tonumber(h.pause_ms or 0)
-- No replica ever sets a longer one.
if pause_ms > LONGEST_PAUSE_MS then pause_until, pause_ms = 0, 0 end
local paused = pause_until - now
if paused < 0 or paused > pause_ms then paused = 0 end

-- A throttle that nobody here caused halves what all of them use together; calls that were out together are throttled
-- together, which is one hint. While the vendor is quiet it comes back step by step, as in budget.rs.
local budget, step_at = math.min(tonumber(h.budget or limit), limit), tonumber(h.step_at or 0)
if pause > 0 and paused == 0 then
  budget, step_at = math.max(math.floor(budget / 2), 1), now + STEP_MS
end
step_at = math.min(step_at, now + STEP_MS)
while budget < limit and step_at <= now do
  budget, step_at = math.min(budget + math.max(math.floor(limit / STEP_PART), 1), limit), step_at + STEP_MS
end
if budget < limit then
  redis.call('HSET', key, 'budget', text(budget), 'step_at', text(step_at))
elseif h.budget then
  redis.call('HDEL', key, 'budget', 'step_at')
end

if pause > 0 and now + pause > math.min(pause_until, now + pause_ms) then
  pause_until, pause_ms = now + pause, pause
  redis.call('HSET', key, 'pause_until', text(pause_until), 'pause_ms', text(pause_ms))
  paused = pause
end

-- Whose turn it is, permit by permit. What is another's turn is kept for it, and it is woken.
local names = {}
want[replica] = mine
for name in pairs(want) do names[#names + 1] = name end
table.sort(names)

local function total(class)
  local sum = 0
  for _, name in ipairs(names) do sum = sum + want[name][class] end
  return sum
end
local since, last = tonumber(h.since or 0), { h.rr1 or '', h.rr2 or '', h.rr3 or '' }
local function decide()
  local interactive, bulk = total(1), total(2)
  local class = 3
  if bulk > 0 and (since + 1 >= BULK_TURN or interactive == 0) then
    class, since = 2, 0
  elseif interactive > 0 then
    class, since = 1, bulk > 0 and since + 1 or 0
  end
  local first
  for _, name in ipairs(names) do
    if want[name][class] > 0 and (not first or (first <= last[class] and name > last[class])) then first = name end
  end
  last[class] = first or last[class]
  return first and { class, first }
end

local decided, turns = {}, {}
for class, who in string.gmatch(h.turns or '', '(%d):(%x+)') do decided[#decided + 1] = { tonumber(class), who } end
local granted, wake = {}, {}
local number, left = 0, budget - count
if not is_known or h.open ~= '1' or paused > 0 then left = 0 end
while left > 0 do
  local turn = table.remove(decided, 1) or decide()
  if not turn then break end
  local class, who = turn[1], turn[2]
  if who == replica and #granted >= most then
    want[replica] = { 0, 0, 0 }
  elseif want[who] and want[who][class] > 0 then
    want[who][class] = want[who][class] - 1
    left = left - 1
    if who == replica then
      while out[number] do number = number + 1 end
      out[number] = { holder = replica, event = event, at = now }
      count = count + 1
      granted[#granted + 1] = number .. ':' .. class
      set('p:' .. number, replica .. '|' .. text(event) .. '|' .. text(now))
    else
      wake[who] = true
      turns[#turns + 1] = turn
    end
  end
end
local kept = {}
for _, list in ipairs({ turns, decided }) do
  for _, turn in ipairs(list) do kept[#kept + 1] = turn[1] .. ':' .. turn[2] end
end
redis.call(
  'HSET', key, 'since', text(since), 'rr1', last[1], 'rr2', last[2], 'rr3', last[3], 'turns', table.concat(kept, ',')
)

-- The turns have counted `mine` down to what still waits.
if mine[1] + mine[2] + mine[3] > 0 then
  set('w:' .. replica, text(mine[1]) .. '|' .. text(mine[2]) .. '|' .. text(mine[3]) .. '|' .. text(now))
else
  unset('w:' .. replica)
end
for who in pairs(wake) do redis.call('PUBLISH', 'weir:wake:' .. who, key) end

-- For forecasts: what waits elsewhere beside those whose turn it is, by class and in the order of turns, with `*` for
-- the caller; how many milliseconds ago the permits of others were granted, or just now, if it is their turn.
local function waiting(class)
  local first, later = {}, {}
  for _, name in ipairs(names) do
    local list = name > last[class] and first or later
    list[#list + 1] = name == replica and '*' or text(want[name][class])
  end
  for _, entry in ipairs(later) do first[#first + 1] = entry end
  return table.concat(first, ',')
end
local ages = {}
for _, held in pairs(out) do
  if held.holder ~= replica then ages[#ages + 1] = text(math.max(now - held.at, 0)) end
end
for _ in ipairs(turns) do ages[#ages + 1] = '0' end
if trip > 0 then set('trip', text(trip)) else trip = tonumber(h.trip or 0) end

-- What is left is nobody's turn: nobody may have it yet, or nobody wants it.
local reply = {
  'ok', h.epoch, text(event), text(lease), h.open, text(paused),
  text(math.max(budget - count - #turns, 0)), text(budget),
  text(since), waiting(1), waiting(2), waiting(3), table.concat(ages, ','), text(trip),
}
for _, permit in ipairs(granted) do reply[#reply + 1] = permit end
return reply
