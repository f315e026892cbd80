//! The smallest server: what comes goes back.

use wheelhouse::{Action, Conn, Engine, Handler, Message};

struct Echo;

impl Handler for Echo {
    type Session = ();

    fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), message: Message<'_>) -> Action {
        conn.send(message);
        Action::Continue
    }
}

fn main() -> wheelhouse::Result<()> {
    Engine::builder().listen("tcp://127.0.0.1:9000").build(|_| Echo)?.run()
}
