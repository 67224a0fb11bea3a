// Imported before all else by the commands that read a document or two and end: compiling a schema, which is how zod makes
// the thousandth document fast, takes longer than reading the first without.
import { config } from 'zod';

config({ jitless: true });
