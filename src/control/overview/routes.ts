/** The overview over the admin socket. */
import type { Routes } from '../socket';
import { type OverviewSource, streamOverview } from './source';

export function overviewRoutes(source: OverviewSource): Routes {
  return { 'GET /v1/overview': (_body, query) => streamOverview(source, query) };
}
