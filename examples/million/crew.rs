//! The processes that a run consists of: started, asked, listened to, and ended, whatever becomes of them.

use std::{
    env,
    fs::DirBuilder,
    io::{BufRead as _, BufReader, ErrorKind, Write as _},
    os::unix::{fs::DirBuilderExt as _, process::CommandExt as _},
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::mpsc::Sender,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use wheelhouse_examples::AnyError;

use crate::{
    machine::{Resident, cpu, is_stopped},
    options::Run,
    orders::{Order, Status},
    plan::{Plan, Transport},
};

/// For the threads that listen, of which there may be hundreds.
const STACK: usize = 128 << 10;

/// How long processes may take to end when they are told to.
const ENDING: Duration = Duration::from_secs(10);

/// One that has been stopped for so long is not waited for.
const STOPPED: Duration = Duration::from_secs(2);

/// What comes to the conductor.
pub(crate) enum Told {
    /// A line from the process with that number.
    Line(usize, Value),
    /// It has closed its output.
    Ended(usize),
    /// Somebody wants it all to end.
    Interrupted,
}

/// The servers come first, the clients after them.
pub(crate) struct Crew {
    members: Vec<Member>,
    servers: usize,
    order: u64,
    told: Sender<Told>,
    /// Where Unix sockets lie; removed with the crew.
    directory: Option<PathBuf>,
}

pub(crate) struct Member {
    process: Child,
    orders: Option<ChildStdin>,
    /// Where it listens.
    pub(crate) url: Option<String>,
    /// Of a client: how it last was.
    pub(crate) status: Status,
    /// Of a server: the same, as it told.
    pub(crate) answer: Value,
    pub(crate) has_ended: bool,
    /// It is there, and nothing is to be expected of it.
    is_silent: bool,
    stopped_since: Option<Instant>,
}

impl Crew {
    pub(crate) fn new(told: Sender<Told>) -> Crew {
        Crew { members: Vec::new(), servers: 0, order: 0, told, directory: None }
    }

    // ---- they come

    /// Starts the next server; the first one, where they share an address, has to have told it by then.
    pub(crate) fn start_server(&mut self, options: &Run, plan: &Plan) -> Result<(), AnyError> {
        let url = match (options.to, self.members.first().and_then(|first| first.url.clone())) {
            (Transport::Unix, _) => format!("unix:{}", self.path(self.servers)?.display()),
            (_, Some(url)) => url,
            (to, None) => format!("{to}://127.0.0.1:0"),
        };
        let heartbeat = options.heartbeat.map_or("off".to_owned(), |every| every.as_secs_f64().to_string());
        let reactors = plan.reactors.to_string();
        let mut arguments =
            vec!["serve", "--listen", &url, "--reactors", &reactors, "--heartbeat", &heartbeat];
        let most = options.max_connections.map(|most| most.to_string());
        arguments.extend(most.iter().flat_map(|most| ["--max-connections", most]));
        self.start(&arguments)?;
        self.servers = self.members.len();
        Ok(())
    }

    /// Starts the client with this number.
    pub(crate) fn start_client(&mut self, options: &Run, plan: &Plan, client: u64) -> Result<(), AnyError> {
        let before: u64 = (0..client).map(|client| plan.share(client, plan.connections)).sum();
        let mut arguments = vec!["hold".to_owned()];
        let mut urls: Vec<String> = self.servers().iter().filter_map(|server| server.url.clone()).collect();
        // Where they share an address it is the same one.
        urls.dedup();
        // Not all begin with the same.
        let first = client as usize % urls.len().max(1);
        urls.rotate_left(first);
        arguments.extend(urls.into_iter().flat_map(|url| ["--to".to_owned(), url]));
        let numbers = [
            ("--first", before),
            ("--most", plan.share(client, plan.connections)),
            // It takes others in each round.
            ("--source", client * plan.sources * options.rounds),
            ("--sources", plan.sources),
            ("--window", plan.window),
        ];
        arguments.extend(numbers.into_iter().flat_map(|(name, value)| [name.to_owned(), value.to_string()]));
        self.start(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn start(&mut self, arguments: &[&str]) -> Result<(), AnyError> {
        let number = self.members.len();
        let failed = |error| format!("cannot start process {} (`{}`): {error}", number + 1, arguments[0]);
        let mut process = Command::new(env::current_exe()?)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A key that interrupts this process is not theirs: they end when it does.
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let orders = process.stdin.take();
        let out = process.stdout.take();
        self.members.push(Member {
            process,
            orders,
            url: None,
            status: Status::default(),
            answer: Value::Null,
            has_ended: false,
            is_silent: false,
            stopped_since: None,
        });
        let told = self.told.clone();
        let listen = move || listen(number, out, &told);
        thread::Builder::new().name("listen".into()).stack_size(STACK).spawn(listen).map_err(failed)?;
        Ok(())
    }

    /// In a directory that only this user can look into.
    fn path(&mut self, server: usize) -> Result<PathBuf, AnyError> {
        if self.directory.is_none() {
            self.directory = Some(new_directory()?);
        }
        Ok(self.directory.iter().map(|directory| directory.join(server.to_string())).collect())
    }

    // ---- they are asked

    /// Asks all servers; their answers will have the number that is returned.
    pub(crate) fn ask_servers(&mut self, question: &str) -> u64 {
        self.order += 1;
        let order = self.order;
        self.servers_mut().iter_mut().for_each(|server| server.say(order, question));
        order
    }

    /// Has each client do something.
    pub(crate) fn order_clients(&mut self, order: impl Fn(u64) -> Order) -> u64 {
        self.order += 1;
        let number = self.order;
        for (client, member) in self.clients_mut().iter_mut().enumerate() {
            member.say(number, &order(client as u64).to_string());
        }
        number
    }

    /// Takes what a member said; what is not about its state is given back.
    pub(crate) fn hear(&mut self, number: usize, line: Value) -> Option<Value> {
        let is_client = number >= self.servers;
        let member = self.members.get_mut(number)?;
        if let Some(url) = line["listening"].as_str() {
            member.url = Some(url.to_owned());
        } else if line["talk"].is_object() {
            return Some(line);
        } else if is_client {
            member.status = Status::read(&line);
        } else {
            member.answer = line;
        }
        None
    }

    pub(crate) fn has_ended(&mut self, number: usize) -> String {
        let what = self.what(number);
        let Some(member) = self.members.get_mut(number) else { return String::new() };
        member.has_ended = true;
        // Nothing that it told is so any more.
        member.status.open = 0;
        member.answer = Value::Null;
        let how = member.process.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
        format!("a {what} ended ({how})")
    }

    /// Who has been stopped for a while.
    pub(crate) fn find_stopped(&mut self) -> Option<String> {
        let number = self.members.iter_mut().position(Member::has_been_stopped)?;
        Some(self.give_up(number, "it is stopped"))
    }

    /// The first server that has not answered.
    pub(crate) fn find_silent_server(&mut self, order: u64, waited: Duration) -> Option<String> {
        let number = self.servers().iter().position(|server| !server.has_answered(order))?;
        Some(self.give_up(number, &format!("it was waited for {} s", waited.as_secs())))
    }

    fn give_up(&mut self, number: usize, why: &str) -> String {
        self.members[number].is_silent = true;
        format!("a {} does not answer: process {}, {why}", self.what(number), self.members[number].pid())
    }

    fn what(&self, number: usize) -> &'static str {
        if number < self.servers { "server" } else { "client" }
    }

    // ---- how they are

    pub(crate) fn servers(&self) -> &[Member] {
        &self.members[..self.servers]
    }

    pub(crate) fn clients(&self) -> &[Member] {
        &self.members[self.servers..]
    }

    fn servers_mut(&mut self) -> &mut [Member] {
        &mut self.members[..self.servers]
    }

    fn clients_mut(&mut self) -> &mut [Member] {
        &mut self.members[self.servers..]
    }

    /// Connections that are open, as the clients see it.
    pub(crate) fn open(&self) -> u64 {
        self.clients().iter().map(|client| client.status.open).sum()
    }

    /// Whether each client has done what it was told by then.
    pub(crate) fn clients_have_seen(&self, order: u64) -> bool {
        self.clients().iter().all(|client| client.has_ended || client.status.seen >= order)
    }

    pub(crate) fn servers_have_answered(&self, order: u64) -> bool {
        self.servers().iter().all(|server| server.has_answered(order))
    }

    /// Whether what servers have can still be told: each is there, and so are those who would close what it has.
    pub(crate) fn is_whole(&self) -> bool {
        !self.servers().iter().any(|server| server.has_ended) && !self.members.iter().any(|one| one.is_silent)
    }

    /// The sum of what the servers told.
    pub(crate) fn of_servers(&self, name: &str) -> u64 {
        self.servers().iter().filter_map(|server| server.answer[name].as_u64()).sum()
    }

    // ---- they go

    /// Closes their inputs, which ends them; whoever stays is killed, and who is known to be silent at once. How many were.
    pub(crate) fn end(&mut self) -> usize {
        self.members.iter_mut().for_each(|member| drop(member.orders.take()));
        let begun = Instant::now();
        let mut killed = 0;
        for member in &mut self.members {
            let mut is_killed = false;
            while member.process.try_wait().is_ok_and(|status| status.is_none()) {
                if !is_killed && (member.is_silent || begun.elapsed() > ENDING) {
                    is_killed = member.process.kill().is_ok();
                }
                thread::sleep(Duration::from_millis(2));
            }
            killed += usize::from(is_killed);
        }
        if let Some(directory) = self.directory.take() {
            let _ = std::fs::remove_dir_all(directory);
        }
        killed
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.end();
    }
}

impl Member {
    fn say(&mut self, number: u64, what: &str) {
        if let Some(orders) = &mut self.orders {
            // One that has ended is noticed by its output.
            let _ = writeln!(orders, "{number} {what}");
        }
    }

    /// One that has ended is not asked any more.
    fn has_answered(&self, order: u64) -> bool {
        self.has_ended || self.answer["seen"].as_u64() >= Some(order)
    }

    fn has_been_stopped(&mut self) -> bool {
        if self.has_ended || !is_stopped(self.pid()) {
            self.stopped_since = None;
            return false;
        }
        self.stopped_since.get_or_insert_with(Instant::now).elapsed() >= STOPPED
    }

    fn pid(&self) -> u32 {
        self.process.id()
    }
}

/// Whoever had this process's number before may have been killed, and left one.
fn new_directory() -> Result<PathBuf, AnyError> {
    let mut nth = 0;
    loop {
        let path = env::temp_dir().join(format!("million-{}-{nth}", std::process::id()));
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == ErrorKind::AlreadyExists && nth < 100 => nth += 1,
            Err(error) => return Err(format!("cannot make {}: {error}", path.display()).into()),
        }
    }
}

/// Memory of some of them: exactly, or as it can be had at once.
pub(crate) fn resident_of(members: &[Member]) -> Resident {
    members.iter().map(|member| Resident::of(member.pid())).sum()
}

pub(crate) fn about_resident_of(members: &[Member]) -> Resident {
    members.iter().map(|member| Resident::about(member.pid())).sum()
}

pub(crate) fn cpu_of(members: &[Member]) -> Duration {
    members.iter().map(|member| cpu(member.pid())).sum()
}

fn listen(number: usize, out: Option<ChildStdout>, told: &Sender<Told>) {
    for line in out.into_iter().flat_map(|out| BufReader::new(out).lines()).map_while(Result::ok) {
        let Ok(value) = serde_json::from_str(&line) else { continue };
        if told.send(Told::Line(number, value)).is_err() {
            return;
        }
    }
    let _ = told.send(Told::Ended(number));
}
