"""What it costs to vouch for senders: microseconds a call at the relay, and at the connector that checks.

python benchmarks/stamp.py [calls]
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from a2a_relay.auth.stamp_signer import StampSigner
from a2a_relay.connector.senders import KeySet, verify
from a2a_relay.core.call import Call
from a2a_relay.core.principal import Principal, Role
from a2a_relay.node.stamps import SessionStamper, Stamps
from a2a_relay.testing import FakeClock, make_address, make_call
from a2a_relay.wire import stamps
from a2a_relay.wire.dialects import NATIVE

CALLS = 100_000
PARAMS_BYTES = (424, 4096, 65_536)


def microseconds(call: Callable[[], object], calls: int) -> float:
    """The mean of the best of five rounds."""
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(calls):
            call()
        best = min(best, time.perf_counter() - began)
    return best / calls * 1e6


def opened(signer: StampSigner) -> SessionStamper:
    """The stamper of one session, with an assertion in hand."""
    found = Stamps(signer, FakeClock(), lambda *_: None).open("e-1", make_address(), "https://relay.example")
    if found is None:
        raise SystemExit("nothing can be signed here")
    return found


def write_stamped(stamper: SessionStamper, call: Call) -> bytes:
    """A call's frame with its stamp."""
    return NATIVE.stamped_request("e-1.1", call, 1, None, stamper.stamp("e-1.1", call))


def main() -> None:
    """Print a row for each size of params, then what is done once for a sender and five minutes."""
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else CALLS
    with tempfile.TemporaryDirectory() as directory:
        signer = StampSigner(Path(directory) / "key.pem")
        stamper = opened(signer)
        ann = Principal("acme", Role.SENDER, "ann", key="k_1")
        mac = stamps.Mac(stamper.key)
        for size in PARAMS_BYTES:
            call = make_call(principal=ann, params=b'"%b"' % (b"x" * (size - 2)))
            stamper.stamp("e-1.1", call)
            plain = microseconds(partial(NATIVE.request, "e-1.1", call, 1), calls)
            stamped = microseconds(partial(write_stamped, stamper, call), calls)
            checked = microseconds(partial(mac, "j", "e-1.1", call.method, call.params), calls)
            print(f"{size:7,} bytes: {stamped - plain:6.2f} us more for a frame, {checked:6.2f} us to check its MAC")
        claims = {"iss": "x", "sub": "ann", "aud": "acme/zaf", "iat": 0, "exp": time.time() + 300, "jti": "j"}
        signed = signer.sign(stamps.SENDER_TYPE, claims)
        keys = KeySet.read(signer.key_set)
        few = max(calls // 50, 1)
        print(
            f"an assertion: {microseconds(lambda: signer.sign(stamps.SENDER_TYPE, claims), few):6.2f} us to sign,",
            end=" ",
        )
        print(f"{microseconds(lambda: verify(signed, keys, 'acme/zaf'), few):6.2f} us to check")


if __name__ == "__main__":
    main()
