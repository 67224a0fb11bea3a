import { describe, expect, it } from 'vitest';
import { encoderOf } from './encoder.ts';
import { CheckRequest } from './generated.ts';

const request = (length: number): CheckRequest => ({
  contract: { $case: 'contractJson', value: Buffer.alloc(length, 'c') },
  policyProfile: `of ${length}`,
  terminal: false,
});

describe('an encoder of one kind of message', () => {
  it('writes what the generated code does, and each into memory of its own', () => {
    const encode = encoderOf(CheckRequest);
    const requests = [0, 1, 2000, 50, 200_000, 3].map(request);
    const encoded = requests.map(encode);
    expect(encoded).toEqual(requests.map((it) => Buffer.from(CheckRequest.encode(it).finish())));
  });

  it('has nothing left of a message that could not be written', () => {
    const encode = encoderOf(CheckRequest);
    encode(request(1));
    const contract = { $case: 'contractJson', value: undefined as never } as const;
    expect(() => encode({ contract, policyProfile: '', terminal: false })).toThrow(TypeError);
    expect(CheckRequest.decode(encode(request(4)))).toEqual(request(4));
  });
});
