-- POSTs a template, with another number in it each time.
--   wrk ... -s post.lua URL -- TEMPLATE BASE START END [KEY]
-- In the template, @N@ becomes a number of nine digits. @S@ and @E@ become MM:SS.mmm, up to 29 minutes after the minutes
-- START and END, so that a range moves without another row in it. BASE is the first number; no two runs share numbers.
local threads = 0

function setup(thread)
   thread:set("id", threads)
   threads = threads + 1
end

local number, parts, kinds, first
local SPAN = 29 * 60000

local function clock(base, ms)
   local whole = base * 60000 + 1 + ms
   return string.format("%02d:%02d.%03d", math.floor(whole / 60000), math.floor(whole / 1000) % 60, whole % 1000)
end

local headers = { ["content-type"] = "application/json", ["accept"] = "application/json" }
local path, from, to, fixed

function init(args)
   local file = assert(io.open(args[1], "rb"))
   local template = file:read("*a")
   file:close()
   number = tonumber(args[2]) + id * 500000
   from, to = tonumber(args[3]), tonumber(args[4])
   path = wrk.path
   if args[5] then headers["authorization"] = "Bearer " .. args[5] end
   if not template:find("@[NSE]@") then
      fixed = wrk.format("POST", path, headers, template)
   end
   parts, kinds = {}, {}
   local at = 1
   while true do
      local s, e, kind = template:find("@([NSE])@", at)
      if not s then break end
      parts[#parts + 1] = template:sub(at, s - 1)
      kinds[#kinds + 1] = kind
      at = e + 1
   end
   parts[#parts + 1] = template:sub(at)
end

function request()
   if fixed then return fixed end
   number = number + 1
   local body = {}
   for i, kind in ipairs(kinds) do
      body[#body + 1] = parts[i]
      if kind == "N" then
         body[#body + 1] = string.format("%09d", number)
      elseif kind == "S" then
         body[#body + 1] = clock(from, number % SPAN)
      else
         body[#body + 1] = clock(to, math.floor(number / SPAN) % SPAN)
      end
   end
   body[#body + 1] = parts[#parts]
   return wrk.format("POST", path, headers, table.concat(body))
end

function done(summary, latency, requests)
   local errors = summary.errors
   io.write(string.format(
      '\nSUMMARY {"requests":%d,"bytes":%d,"duration_us":%d,"errors":%d,"refused":%d,"p50_us":%d,"p99_us":%d}\n',
      summary.requests, summary.bytes, summary.duration,
      errors.connect + errors.read + errors.write + errors.timeout, errors.status,
      latency:percentile(50), latency:percentile(99)))
end
