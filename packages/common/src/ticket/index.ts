export { ticketSchema } from './schema.ts';
export {
  clockSkewMs,
  type ExecutionTicket,
  type Grant,
  maxTicketLifeMs,
  parseTicket,
  ticketFromJson,
  type UnsignedTicket,
} from './ticket.ts';
