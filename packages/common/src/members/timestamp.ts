import * as z from 'zod';
import { parseTimestamp } from '../encoding/index.ts';

/** RFC 3339 with a time zone, with as many fraction digits as its writer likes (Python writes six). */
export const timestamp = z
  .string()
  .refine((text) => parseTimestamp(text) !== undefined, {
    error: 'must be an RFC 3339 time with a time zone, for example 2026-03-20T10:00:00Z',
  })
  .meta({ format: 'date-time' });
