// An ordinary echo server on the npm package ws. Arguments: --deflate, --broadcast.
'use strict';

const { WebSocketServer } = require('ws');

const asked = new Set(process.argv.slice(2));
const deflate = asked.has('--deflate') && {
  serverNoContextTakeover: true,
  clientNoContextTakeover: true,
  threshold: 512,
};
const server = new WebSocketServer({
  host: '127.0.0.1',
  port: 0,
  backlog: 4096,
  maxPayload: 1 << 20,
  perMessageDeflate: deflate,
});

server.on('listening', () => console.log(`listening on 127.0.0.1:${server.address().port}`));
server.on('connection', (socket) => {
  socket.on('error', () => {});
  socket.on('message', (message, isBinary) => {
    const to = asked.has('--broadcast') ? server.clients : [socket];
    for (const each of to) each.send(message, { binary: isBinary });
  });
});

process.stdin.on('end', () => process.exit(0)).resume();
