"""Runs a contract through a gate and verifies the receipt, with nothing of CSC Fleet but its proto files."""

import argparse
import base64
import datetime
import hashlib
import json
import pathlib
import re
import secrets
import sys

import grpc
from nacl.signing import SigningKey, VerifyKey

from csc.common.v1 import execution_pb2
from csc.gate.v1 import gate_pb2, gate_pb2_grpc

RECEIPT_VERSION = "csc.receipt.v0.2"
STDOUT = execution_pb2.OUTPUT_STREAM_STDOUT
STDERR = execution_pb2.OUTPUT_STREAM_STDERR


def connect(address: str, pki: pathlib.Path, name: str) -> gate_pb2_grpc.GateStub:
    credentials = grpc.ssl_channel_credentials(
        root_certificates=(pki / "ca.pem").read_bytes(),
        private_key=(pki / f"client-{name}.key").read_bytes(),
        certificate_chain=(pki / f"client-{name}.pem").read_bytes(),
    )
    return gate_pb2_grpc.GateStub(grpc.secure_channel(address, credentials))


def signing_payload(receipt: dict) -> bytes:
    """The canonical JSON of the whole receipt with only signature.signature removed."""
    signature = {k: v for k, v in receipt["signature"].items() if k != "signature"}
    body = {**receipt, "signature": signature}
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def contract_sha256(contract: bytes) -> str:
    # What is left out hashes as what it stands for: no expected_outputs are [].
    whole = {"expected_outputs": [], **json.loads(contract)}
    body = json.dumps(whole, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(body.encode()).hexdigest()


def make_submission(contract: bytes, principal: str, key_id: str, nonce: str) -> dict:
    """What hosts believe of who asks for this contract, instead of the gate. key_id as bindings.yaml has it."""
    now = datetime.datetime.now(datetime.timezone.utc)
    return {
        "submission_version": "csc.submission.v0.1",
        "contract_sha256": contract_sha256(contract),
        "principal": principal,
        "nonce": nonce,
        "audience": {"trust_domain": principal.split("/")[2], "selector": {}},
        "not_before": now.isoformat(),
        "expires_at": (now + datetime.timedelta(hours=1)).isoformat(),
        "receipt_version": RECEIPT_VERSION,
        "options": {},
        "approvals": [],
        "signature": {"algorithm": "ed25519", "key_id": key_id, "signed_at": now.isoformat()},
    }


def sign(submission: dict, key: SigningKey) -> bytes:
    signature = base64.b64encode(key.sign(signing_payload(submission)).signature).decode()
    return json.dumps({**submission, "signature": {**submission["signature"], "signature": signature}}).encode()


def name_host(submission: dict, executor_id: str) -> None:
    """For this host and no other: a gate that had the same signed for two would have both run it."""
    named = submission["audience"].setdefault("executor_id", executor_id)
    if named != executor_id:
        raise ValueError(f"the gate wants the submission for {executor_id}, which was signed for {named}")


def find_key(gate: gate_pb2_grpc.GateStub, key_id: str, pins: dict | None) -> tuple[str, bytes]:
    """The owner and the public key. Pinned keys are the only ones; only a gate's own key is asked for beside them."""
    if pins is not None and key_id in pins:
        return pins[key_id]
    for key in gate.GetKeys(gate_pb2.GetKeysRequest(key_ids=[key_id])).keys:
        if key.key_id == key_id and (pins is None or role_of(key.owner) == "gate"):
            return key.owner, key.public_key
    raise ValueError(f"no key {key_id} is trusted")


def read_pins(path: pathlib.Path) -> dict:
    """The key ring that `csc executor keys --export` writes on a host."""
    keys = json.loads(path.read_bytes())["keys"]
    return {key["key_id"]: (key["owner"], base64.b64decode(key["public_key"])) for key in keys}


def role_of(owner: str) -> str:
    match = re.fullmatch(r"(?:spiffe://[a-z0-9._-]+/)?(executor|gate)/[A-Za-z0-9._-]+", owner)
    return match.group(1) if match else ""


def check(condition: bool, problem: str) -> None:
    if not condition:
        raise ValueError(f"the receipt does not count: {problem}")


def verify(receipt: dict, owner: str, public_key: bytes, execution_id: str, contract: bytes, output: dict) -> None:
    """Raises unless an executor has signed this receipt, of this run, with just the output that arrived."""
    VerifyKey(public_key).verify(
        signing_payload(receipt), base64.b64decode(receipt["signature"]["signature"])
    )
    check(receipt["receipt_version"] == RECEIPT_VERSION, "it is not of the version that was asked for")
    check(receipt["contract_sha256"] == contract_sha256(contract), "it is for another contract")
    check(receipt["execution_id"] == execution_id, "it is for another execution")
    if role_of(owner) == "gate":  # which can say that nothing ran, and no more
        check(receipt["status"] in ("blocked", "expired") and not receipt["commands"], "a gate cannot say what ran")
    else:
        check(role_of(owner) == "executor", f"{owner} is no executor")
        check(receipt.get("executor_id") == owner.rsplit("/", 1)[1], "another executor has signed it")
    ids = [command["id"] for command in json.loads(contract)["commands"]]
    ran = [command["command_id"] for command in receipt["commands"]]
    check(ran == ids[: len(ran)], "it names other commands")
    check(receipt["status"] != "success" or ran == ids, "it says success and leaves commands out")
    covered = 0
    for command in receipt["commands"]:
        for stream, name in ((STDOUT, "stdout"), (STDERR, "stderr")):
            data = output.get((command["command_id"], stream), b"")
            covered += len(data)
            check(len(data) == command[f"{name}_bytes"], f"{name} has another length")
            check(command[f"{name}_hash"] == "sha256:" + hashlib.sha256(data).hexdigest(), f"{name} differs")
    check(covered == sum(map(len, output.values())), "there was output that it does not cover")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("contract", type=pathlib.Path)
    parser.add_argument("--gate", default="localhost:7443")
    parser.add_argument("--pki", type=pathlib.Path, required=True)
    parser.add_argument("--as", dest="name", required=True)
    parser.add_argument("--keys", type=pathlib.Path, help="executors' keys, of csc executor keys --export")
    parser.add_argument("--sign", nargs=3, metavar=("SEED_FILE", "KEY_ID", "PRINCIPAL"), help="sign the submission")
    args = parser.parse_args()

    pins = read_pins(args.keys) if args.keys else None
    if pins is None:
        print("WARNING: without --keys, this believes the gate about whose key is whose", file=sys.stderr)
    gate = connect(args.gate, args.pki, args.name)
    contract = args.contract.read_bytes()
    nonce = secrets.token_hex(16)
    submission = key = None
    if args.sign:
        seed, key_id, principal = args.sign
        key = SigningKey(pathlib.Path(seed).read_bytes())
        submission = make_submission(contract, principal, key_id, nonce)
    submit = gate_pb2.SubmitRequest(
        contract_json=contract,
        idempotency_key=nonce,
        submission_json=sign(submission, key) if submission else b"",
        options=gate_pb2.RunOptions(receipt_version=RECEIPT_VERSION),
    )
    output = {}
    execution_id = receipt_json = None
    for response in gate.Run(gate_pb2.RunRequest(submit=submit)):
        if response.HasField("chunk"):
            chunk = response.chunk
            seen = output.get((chunk.command_id, chunk.stream), b"")
            output[chunk.command_id, chunk.stream] = seen + chunk.data
            (sys.stdout if chunk.stream == STDOUT else sys.stderr).buffer.write(chunk.data)
        elif response.HasField("event"):
            event = response.event
            execution_id = execution_id or event.execution_id
            if event.HasField("decided"):
                for reason in event.decided.decision.reasons:
                    print(f"decision: {reason}", file=sys.stderr)
            elif event.HasField("binding_wanted") and submission:
                name_host(submission, event.binding_wanted.executor_id)
                bound = sign(submission, key)
                gate.Bind(gate_pb2.BindRequest(execution_id=execution_id, submission_json=bound))
            elif event.HasField("finished"):
                receipt_json = event.finished.receipt_json
    # What the gate says of the end is progress, no result: without a receipt, nothing is known.
    if not receipt_json:
        print("the stream ended without a receipt: take it that it failed", file=sys.stderr)
        return 70
    receipt = json.loads(receipt_json)
    owner, public_key = find_key(gate, receipt["signature"]["key_id"], pins)
    verify(receipt, owner, public_key, execution_id, contract, output)
    print(f"receipt: {receipt['status']}, signed by {owner}", file=sys.stderr)
    for command in receipt["commands"]:
        for name in ("stdout", "stderr"):
            if command.get(f"{name}_truncated"):
                print(f"WARNING: {name} of {command['command_id']} was cut: the rest is lost", file=sys.stderr)
    if receipt["status"] == "success":
        return 0
    return receipt.get("exit_code") or 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except grpc.RpcError as error:
        # What the gate refused, with every fault of a contract; or that there is no gate.
        sys.exit(f"ERROR: {error.code().name}: {error.details()}")
