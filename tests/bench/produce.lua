-- wrk script: POST records in the v2 format. Arguments: json|binary, records per request, bytes per
-- value, number of different keys. The last line it prints is one JSON object for bench.py.
--
-- The requests are made before the clock runs, one per key, and sent in turn. With one key this is a
-- constant request, and all records of one-record requests go to one partition. Replies are not
-- looked at here (that would cost the machine more than the gateway): wrk counts statuses, bench.py
-- compares the offsets of the topic before and after.

local kind, per_request, size, keys = "json", 1, 100, 1
local requests, turn, requests_count = {}, 0, 1

function init(args)
   kind = args[1] or kind
   per_request = tonumber(args[2] or per_request)
   size = tonumber(args[3] or size)
   keys = tonumber(args[4] or keys)
   wrk.method = "POST"
   wrk.headers["Content-Type"] = "application/vnd.kafka." .. kind .. ".v2+json"
   wrk.headers["Accept"] = "application/vnd.kafka.v2+json"
   local text = string.rep("x", size)
   local base64 = string.rep("eHh4", math.floor(size / 3))
   -- Requests of many records have many keys in each; a few of them are enough.
   requests_count = math.max(1, math.ceil(keys / per_request))
   for r = 1, requests_count do
      local records = {}
      for i = 1, per_request do
         local key = "k" .. ((r - 1) * per_request + i)
         if kind == "json" then
            records[i] = '{"key":"' .. key .. '","value":{"v":"' .. text .. '"}}'
         else
            records[i] = '{"value":"' .. base64 .. '"}'
         end
      end
      requests[r] = wrk.format(nil, nil, nil, '{"records":[' .. table.concat(records, ",") .. "]}")
   end
end

function request()
   turn = turn % requests_count + 1
   return requests[turn]
end

function done(summary, latency, _)
   local errors = summary.errors
   io.write(string.format(
      '{"seconds":%.3f,"requests":%d,"p50_ms":%.3f,"p99_ms":%.3f,"p999_ms":%.3f,' ..
      '"statuses":%d,"transport":%d}\n',
      summary.duration / 1e6, summary.requests, latency:percentile(50) / 1000,
      latency:percentile(99) / 1000, latency:percentile(99.9) / 1000, errors.status,
      errors.connect + errors.read + errors.write + errors.timeout))
end
