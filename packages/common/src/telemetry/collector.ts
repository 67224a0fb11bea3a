export const collectorForm = 'must be an http or https URL without a name or a password in it';

/** Whether traces can be sent there: as its `collectorForm` has it. */
export function isCollector(endpoint: string): boolean {
  if (!URL.canParse(endpoint)) return false;
  const url = new URL(endpoint);
  return ['http:', 'https:'].includes(url.protocol) && url.username === '' && url.password === '';
}
