-- One relayed JSON-RPC call per request, spread over the agents. Arguments: token, number of agents.
local agents, token, body = 8, "", ""
function init(args)
  token, agents = args[1], tonumber(args[2])
  body = '{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":{"message":{"messageId":"m","role":"ROLE_USER",' ..
    '"parts":[{"text":"' .. string.rep("x", 200) .. '"}]}}}'
  wrk.headers["Authorization"] = "Bearer " .. token
  wrk.headers["Content-Type"] = "application/json"
end
local n = 0
function request()
  n = n + 1
  return wrk.format("POST", "/t/bench/a2a/agent-" .. (n % agents) .. "/", nil, body)
end
function done(summary, latency)
  io.write(string.format('JSON {"requests":%d,"seconds":%.4f,"errors":%d,"p50_ms":%.3f,"p99_ms":%.3f,"p999_ms":%.3f}\n',
    summary.requests, summary.duration / 1e6,
    summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, latency:percentile(99.9) / 1000))
end
