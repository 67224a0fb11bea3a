"""Runs a contract through a gate and verifies the receipt, with nothing of CSC Fleet but its proto files."""

import argparse
import base64
import hashlib
import json
import pathlib
import sys

import grpc
from nacl.signing import VerifyKey

from csc.common.v1 import execution_pb2
from csc.gate.v1 import gate_pb2, gate_pb2_grpc


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


def verify(gate: gate_pb2_grpc.GateStub, receipt: dict, stdout: bytes, stderr: bytes) -> None:
    """Raises where the receipt is not what the executor signed, or the output is not what it names."""
    key_id = receipt["signature"]["key_id"]
    keys = gate.GetKeys(gate_pb2.GetKeysRequest(key_ids=[key_id])).keys
    VerifyKey(keys[0].public_key).verify(
        signing_payload(receipt), base64.b64decode(receipt["signature"]["signature"])
    )
    for name, data in (("stdout_hash", stdout), ("stderr_hash", stderr)):
        if name in receipt and receipt[name] != "sha256:" + hashlib.sha256(data).hexdigest():
            raise ValueError(f"{name} does not match the output")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("contract", type=pathlib.Path)
    parser.add_argument("--gate", default="localhost:7443")
    parser.add_argument("--pki", type=pathlib.Path, required=True)
    parser.add_argument("--as", dest="name", required=True)
    args = parser.parse_args()

    gate = connect(args.gate, args.pki, args.name)
    submit = gate_pb2.SubmitRequest(contract_json=args.contract.read_bytes())
    output = {execution_pb2.OUTPUT_STREAM_STDOUT: b"", execution_pb2.OUTPUT_STREAM_STDERR: b""}
    receipt = None
    for response in gate.Run(gate_pb2.RunRequest(submit=submit)):
        if response.HasField("chunk"):
            output[response.chunk.stream] += response.chunk.data
            to = sys.stdout if response.chunk.stream == execution_pb2.OUTPUT_STREAM_STDOUT else sys.stderr
            to.buffer.write(response.chunk.data)
        elif response.HasField("event") and response.event.HasField("decided"):
            for reason in response.event.decided.decision.reasons:
                print(f"decision: {reason}", file=sys.stderr)
        elif response.HasField("event") and response.event.HasField("finished"):
            receipt = json.loads(response.event.finished.receipt_json)
    if receipt is None:
        print("the stream ended without a receipt", file=sys.stderr)
        return 70
    verify(gate, receipt, *output.values())
    print(f"receipt: {receipt['status']}, verified with key {receipt['signature']['key_id']}", file=sys.stderr)
    return int(receipt.get("exit_code", 1))


if __name__ == "__main__":
    sys.exit(main())
