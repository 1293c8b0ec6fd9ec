"""`make demo`: a relay, an agent behind it, calls and streams that go through both; all on this machine.

Starts three programs (the relay, the echo agent of examples/, the connector between them), shows what they do, kills
the relay in the middle of a stream and starts it again, sends to the agent while it is away, prints commands to try,
and stays up until Ctrl-C. With --once it ends after what is shown. Whatever the way out, the programs are stopped.
While the demo runs, its data directory holds their logs and process ids; it goes when the demo ends.
"""

import argparse
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
import jwt
from demo_programs import POLL_SECONDS, Demo, DemoError, Endings, Program, shown

HOST = "127.0.0.1"
AGENT = "echo"
CALL = "Hello, agent"
STREAM = "One word after the other"
LONG_STREAM = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
WORD_SECONDS = 0.5  # slow enough to be seen
WORDS_BEFORE_KILL = 4
DOWN_SECONDS = 1.0  # how long nothing listens, for the person to see it
LETTER = "Have you been away?"


def is_free(port: int) -> bool:
    """Tell whether nobody listens on a port of this machine and we may."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        if probe.connect_ex((HOST, port)) == 0:
            return False
    try:
        socket.create_server((HOST, port)).close()
    except OSError:
        return False
    return True


def first_free_port(wanted: int) -> int:
    """Return the wanted port or the next free one above it; any free one for 0."""
    if wanted == 0:
        with socket.create_server((HOST, 0)) as probe:
            return int(probe.getsockname()[1])
    for port in range(wanted, min(wanted + 100, 65536)):
        if is_free(port):
            return port
    raise DemoError(f"No free port from {wanted} to {wanted + 99}. Choose another: make demo DEMO_PORT=9000")


def start_relay(demo: Demo, port: int) -> Program:
    """Start the relay and wait until it takes calls."""

    def is_ready() -> bool:
        try:
            answer = httpx.get(f"{demo.url}/readyz", trust_env=False, timeout=2.0)
        except httpx.TransportError:
            return False
        return answer.status_code == httpx.codes.OK

    relay = demo.start("relay", demo.relay("serve", "--host", HOST, "--port", str(port)))
    demo.wait_until("the relay", is_ready)
    return relay


def start_agent(demo: Demo) -> str:
    """Start the echo agent on a port of its own choice and return its URL."""
    pace = ["--words", "1", "--chunk", str(WORD_SECONDS)]
    agent = demo.start("agent", [sys.executable, "examples/demo_agent.py", "0", *pace, "--durable"])

    def url() -> str:
        return agent.log.read_text().partition("\n")[0]

    def is_listening() -> bool:
        if not url().startswith("http"):
            return False
        try:
            httpx.get(f"{url()}/.well-known/agent-card.json", trust_env=False, timeout=2.0).raise_for_status()
        except httpx.HTTPError:
            return False
        return True

    demo.wait_until("the agent", is_listening)
    return url()


@dataclass
class Attached:
    """The connector beside the agent, and what clients need to reach that."""

    connector: Program
    tenant: str
    token: str


def start_connector(demo: Demo, agent_url: str) -> Program:
    """Start the connector."""
    return demo.start(
        "connector", demo.relay("connect", "--upstream", agent_url, "--relay", demo.url, "--agent", AGENT)
    )


def attach(demo: Demo, agent_url: str) -> Attached:
    """Start the connector, and wait until the relay lists the agent as attached."""
    connector = start_connector(demo, agent_url)
    token = demo.output_of(demo.relay("token")).strip()
    tenant = str(jwt.decode(token, options={"verify_signature": False})["tenant"])
    attached = Attached(connector, tenant, token)
    demo.wait_until("the agent to attach", lambda: state_of_agent(demo, attached) == "attached")
    return attached


def state_of_agent(demo: Demo, attached: Attached) -> str | None:
    """What the relay's directory says of the agent. Raises DemoError."""
    headers = {"Authorization": f"Bearer {attached.token}"}
    try:
        answer = httpx.get(f"{demo.url}/t/{attached.tenant}/agents", headers=headers, trust_env=False, timeout=5.0)
        states = {agent["id"]: str(agent["state"]) for agent in answer.raise_for_status().json()}
    except httpx.HTTPError as error:
        demo.check()
        raise DemoError(f"The relay did not list its agents: {error}") from error
    return states.get(AGENT)


def show_survival(demo: Demo, relay: Program, port: int) -> None:
    """Kill the relay in the middle of a stream, start it again, and see that the stream goes on where it was."""
    say = demo.screen.say
    words = LONG_STREAM.split()
    say("A stream that outlives the relay. After a few words the relay is killed, in a way that leaves it no time for")
    say("anything, and started again; the agent goes on meanwhile, and is not told:")
    stream = demo.begin(demo.relay("send", "--stream", AGENT, LONG_STREAM))

    def has_begun() -> bool:
        return len(stream.answer.split()) >= WORDS_BEFORE_KILL or stream.is_over()

    demo.wait_until("the first words", has_begun)
    say(f"  [kill -9 {relay.process.pid}: the relay is dead, in the middle of the stream]")
    demo.kill(relay)
    killed = time.monotonic()
    time.sleep(DOWN_SECONDS)
    before, restarted = len(stream.answer.split()), time.monotonic()
    pid = start_relay(demo, port).process.pid
    say(f"  [the relay is back as process {pid}, on the same port, with the same data]")
    demo.finish(stream)

    if stream.answer.split() != words:
        raise DemoError("These are not the words that the agent has sent, each once and in order.")
    back = next((at for at, text in stream.pieces if at > restarted and text.strip()), None)
    if back is None:
        raise DemoError("The stream was over before the relay was dead: this machine was very busy. Try it again.")
    say()
    gap = back - killed
    say(f"Killed after {before} words, the stream went on {gap:.1f} s later. All {len(words)} words came, each once.")


def show_letter(demo: Demo, attached: Attached, agent_url: str) -> None:
    """Take the agent away, send to it with the SDK's client, bring it back, and see the answer come."""
    say = demo.screen.say
    say(
        "A message to an agent that is away. The connector is ended, as when a laptop is closed. A client made with the"
    )
    say("official SDK, which knows nothing of relays, sends a message and asks for its task until that is done:")
    demo.end(attached.connector)
    demo.wait_until("the agent to be away", lambda: state_of_agent(demo, attached) == "away")
    say("  [the agent is away]")
    url = f"{demo.url}/t/{attached.tenant}/a2a/{AGENT}/"
    client = demo.begin([sys.executable, "examples/patient_client.py", url, LETTER], RELAY_TOKEN=attached.token)

    def is_queued() -> bool:
        return "SUBMITTED" in client.answer or client.is_over()

    demo.wait_until("the task", is_queued)
    time.sleep(DOWN_SECONDS)
    say("  [the agent comes back]")
    attached.connector = start_connector(demo, agent_url)
    demo.finish(client)
    if not client.answer.endswith(f"{LETTER}\n"):
        raise DemoError("This is not what the agent has said.")
    say()
    say("SUBMITTED became COMPLETED: the relay had kept the message on disk, and the task's id stayed what it was.")


def print_commands(demo: Demo, tenant: str) -> None:
    """Print what to try next; each line works as it is, pasted into a terminal in the project's directory."""
    say = demo.screen.say
    base = f"{demo.url}/t/{tenant}/a2a/{AGENT}"
    message = '{"messageId":"m1","role":"ROLE_USER","parts":[{"text":"hi"}]}'
    call = f'{{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":{{"message":{message}}}}}'
    say("Try it from another terminal, in this directory:")
    say()
    say(f"  {shown(demo.relay('send', AGENT, 'hi'))}")
    say(f"  {shown(demo.relay('send', '--stream', AGENT, 'one two three'))}")
    say(f"  curl {base}/.well-known/agent-card.json")
    say(f"  TOKEN=$({shown(demo.relay('token'))})")
    say(f"  curl {base}/ -H \"Authorization: Bearer $TOKEN\" -H 'A2A-Version: 1.0' \\")
    say(f"    -H 'Content-Type: application/json' -d '{call}'")
    say()


def run(demo: Demo, port: int, *, once: bool) -> None:
    """Start everything, show what it does, and stay up unless told otherwise."""
    say = demo.screen.say
    demo.make_data_dir()
    say("Starting the relay, an agent and the connector between them ...")
    relay = start_relay(demo, port)
    agent_url = start_agent(demo)
    attached = attach(demo, agent_url)
    say()
    say(f"  relay      {demo.url}")
    say(f"  agent      {AGENT}, at {agent_url}: an ordinary A2A server that listens on this machine only")
    say("  connector  attached: it called the relay, nobody has to reach the agent's machine")
    say()
    say("A call through the relay:")
    demo.finish(demo.begin(demo.relay("send", AGENT, CALL)))
    say()
    say("A stream through the relay:")
    demo.finish(demo.begin(demo.relay("send", "--stream", AGENT, STREAM)))
    say()
    show_survival(demo, relay, port)
    say()
    show_letter(demo, attached, agent_url)
    say()
    print_commands(demo, attached.tenant)
    if once:
        return
    say("Ctrl-C stops everything.")
    while True:
        demo.check()
        time.sleep(POLL_SECONDS)


def main() -> int:
    """Run the demo and return its exit code."""
    options = argparse.ArgumentParser(description="A relay, an agent and what goes through both, on this machine.")
    options.add_argument("--port", type=int, default=8080, help="or the next free one above it; 0: any free one")
    options.add_argument("--once", action="store_true", help="end after what is shown")
    chosen = options.parse_args()
    endings = Endings()
    demo, has_failed = None, False
    try:
        with endings:
            port = first_free_port(chosen.port)
            demo = Demo(f"http://{HOST}:{port}", Path(".demo") / str(port), endings)
            run(demo, port, once=chosen.once)
    except DemoError as error:
        has_failed = True
        logs = f"\nThe programs' logs are in {demo.data_dir}/." if demo else ""
        print(f"\n{error}{logs}", file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        print("\nStopping ...", flush=True)
    finally:
        if demo is not None:
            demo.stop(keeps_logs=has_failed)
    return int(has_failed)


if __name__ == "__main__":
    sys.exit(main())
