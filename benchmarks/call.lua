-- One relayed JSON-RPC call per request, to an agent chosen at random.
-- Argument: a file with a line "path token" for each agent.
local targets, headers, body = {}, {}, ""
function init(args)
  math.randomseed(1)
  for line in io.lines(args[1]) do
    local path, token = line:match("(%S+) (%S+)")
    targets[#targets + 1] = path
    headers[#headers + 1] = { ["Authorization"] = "Bearer " .. token, ["Content-Type"] = "application/json" }
  end
  body = '{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":{"message":{"messageId":"m","role":"ROLE_USER",' ..
    '"parts":[{"text":"' .. string.rep("x", 200) .. '"}]}}}'
end
function request()
  local n = math.random(#targets)
  return wrk.format("POST", targets[n], headers[n], body)
end
function done(summary, latency)
  io.write(string.format('JSON {"requests":%d,"seconds":%.4f,"errors":%d,"p50_ms":%.3f,"p99_ms":%.3f,"p999_ms":%.3f}\n',
    summary.requests, summary.duration / 1e6,
    summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, latency:percentile(99.9) / 1000))
end
