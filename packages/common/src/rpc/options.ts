import type { ChannelOptions, ServerOptions } from '@grpc/grpc-js';

/** Bytes of one stream that may be on their way: output keeps flowing on links with a long round trip. */
export const streamWindow = 4 * 1024 * 1024;

/** The largest message either side takes, in bytes: a contract of 1 MiB or a batch of output, with room to spare. */
export const maxMessageBytes = 8 * 1024 * 1024;

/** Calls that one connection may have open at the gate; a client's further ones wait. */
export const maxConcurrentStreams = 1024;

const keepalive = { 'grpc.keepalive_time_ms': 30_000, 'grpc.keepalive_timeout_ms': 10_000 } as const;

const messages = {
  'grpc.max_send_message_length': maxMessageBytes,
  'grpc.max_receive_message_length': maxMessageBytes,
  // Its bookkeeping costs on every call, and nobody reads it.
  'grpc.enable_channelz': 0,
} as const;

/** For every client and executor. */
export const channelOptions: ChannelOptions = {
  ...messages,
  ...keepalive,
  'grpc.keepalive_permit_without_calls': 1,
  'grpc-node.flow_control_window': streamWindow,
  // A retry is the caller's decision: it needs an idempotency key.
  'grpc.enable_retries': 0,
  'grpc.service_config_disable_resolution': 1,
  'grpc.initial_reconnect_backoff_ms': 250,
  'grpc.max_reconnect_backoff_ms': 10_000,
};

/** For the gate. */
export const serverOptions: ServerOptions = { ...messages, ...keepalive };
