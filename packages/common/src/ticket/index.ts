export { ticketSchema } from './schema.ts';
export {
  clockSkewMs,
  type ExecutionTicket,
  type Grant,
  maxTicketLifeMs,
  openTicket,
  parseTicket,
  type TicketContext,
  ticketFromJson,
  type UnsignedTicket,
} from './ticket.ts';
