export class RecordWindow {
  constructor(_keys: number) {}
  remember(_principal: string | Uint8Array, _recordId: string | Uint8Array, _contentHash: Uint8Array): void {}
}
