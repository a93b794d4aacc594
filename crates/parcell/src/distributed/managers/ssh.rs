//! Workers on hosts that ssh reaches. One ssh for each host starts all workers there; when it ends,
//! so do they.

use super::script::RUN_INPUT;
use super::{Client, Feed, Manager, Plan, Wanted, shares};

pub(super) struct Ssh;

const OPTIONS: [(&str, &str); 7] = [
    (
        "hosts",
        "where: `[user@]host[:port]`, separated by commas, with `*N` for N workers, `*auto` for one a processor",
    ),
    ("user", "the name to log in with, where a host names none"),
    ("port", "the port of ssh, where a host names none"),
    ("identity", "the file of the private key"),
    ("ssh", "the program (`ssh`)"),
    ("ssh-option", "passed to ssh as `-o`; may be repeated"),
    ("tunnel", "workers reach the driver through ssh, where they cannot reach it otherwise"),
];

impl Manager for Ssh {
    fn name(&self) -> &'static str {
        "ssh"
    }

    fn options(&self) -> Option<&'static [(&'static str, &'static str)]> {
        Some(&OPTIONS)
    }

    fn plan(&self, wanted: &Wanted<'_>) -> Result<Plan, String> {
        let given = wanted.options.get("hosts").unwrap_or_default();
        let mut hosts = given.split(',').map(str::trim).filter(|host| !host.is_empty());
        let mut hosts = hosts.by_ref().map(Host::parse).collect::<Result<Vec<_>, _>>()?;
        if hosts.is_empty() {
            return Err("--hosts names the hosts, as in `--hosts anna@n1,n2*4`".to_owned());
        }
        count_processors(&mut hosts, wanted)?;
        share(&mut hosts, wanted.workers)?;
        merge(&mut hosts);
        let clients = hosts.iter().filter(|host| host.workers > Some(0));
        let clients = clients.map(|host| client(host, wanted)).collect::<Result<_, _>>()?;
        Ok(Plan::Clients(clients))
    }
}

/// The places for workers that hosts have, one after the other: a host without a number has one.
pub(super) fn places(hosts: &str) -> Result<Vec<String>, String> {
    let hosts = hosts.split(',').map(str::trim).filter(|host| !host.is_empty());
    let mut rounds = Vec::new();
    for (k, text) in hosts.enumerate() {
        let host = Host::parse(text)?;
        if host.auto {
            return Err(format!(
                "write how many workers `{text}` may have, as in `{}*4`",
                host.name
            ));
        }
        let place = text.split_once('*').map_or(text, |(place, _)| place);
        let of_it = (0..host.workers.unwrap_or(1)).map(|round| (round, k, place.to_owned()));
        rounds.extend(of_it);
    }
    // One on each host before a second one on any.
    rounds.sort();
    Ok(rounds.into_iter().map(|(_, _, place)| place).collect())
}

/// `[user@]host[:port][*workers]`, where `*auto` stands for one for each processor there.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Host {
    user: Option<String>,
    name: String,
    port: Option<u16>,
    workers: Option<u32>,
    auto: bool,
}

impl Host {
    fn parse(text: &str) -> Result<Host, String> {
        let wrong = |what: &str| format!("`{text}` is no host: {what}");
        let (place, count) = text.split_once('*').map_or((text, None), |(p, n)| (p, Some(n)));
        let auto = count == Some("auto");
        let number = |n: &str| n.parse().ok().filter(|n| *n > 0);
        let unread = || wrong("after `*` a number of workers is wanted, or `auto`");
        let workers = match count {
            Some(count) if !auto => Some(number(count).ok_or_else(unread)?),
            _ => None,
        };
        let (user, place) = match place.rsplit_once('@') {
            Some((user, place)) => (Some(user.to_owned()), place),
            None => (None, place),
        };
        let (name, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((name, rest)) => (name, rest.strip_prefix(':')),
            // More than one colon is an address of IPv6.
            None if place.matches(':').count() > 1 => (place, None),
            None => place.split_once(':').map_or((place, None), |(name, port)| (name, Some(port))),
        };
        let port = port.map(|p| p.parse().map_err(|_| wrong("after `:` a port is wanted")));
        let plain =
            |s: &str| !s.is_empty() && !s.starts_with('-') && !s.contains(char::is_whitespace);
        if !plain(name) || !user.as_deref().is_none_or(plain) {
            return Err(wrong("it has no name that ssh takes"));
        }
        Ok(Host { user, name: name.to_owned(), port: port.transpose()?, workers, auto })
    }
}

/// Asks the hosts that are to have a worker for each processor how many they have.
fn count_processors(hosts: &mut [Host], wanted: &Wanted<'_>) -> Result<(), String> {
    let open: Vec<&mut Host> = hosts.iter_mut().filter(|host| host.auto).collect();
    // At the same time: each takes as long as it takes to log in.
    let counted = std::thread::scope(|scope| {
        let ask = |host: &Host| {
            let mut command = login(host, wanted)?;
            command.extend(["--".to_owned(), host.name.clone(), "nproc".to_owned()]);
            let said = (wanted.ask)(&command)?;
            let unread = || format!("{} does not tell its processors, but `{said}`", host.name);
            said.trim().parse::<u32>().map_err(|_| unread())
        };
        let asked: Vec<_> =
            open.into_iter().map(|host| scope.spawn(move || Ok((ask(host)?, host)))).collect();
        let answered = |thread: std::thread::ScopedJoinHandle<'_, _>| match thread.join() {
            Ok(answer) => answer,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        asked.into_iter().map(answered).collect::<Result<Vec<_>, String>>()
    })?;
    counted.into_iter().for_each(|(count, host)| host.workers = Some(count));
    Ok(())
}

/// Gives each host its number of workers.
fn share(hosts: &mut [Host], workers: Option<usize>) -> Result<(), String> {
    let Some(workers) = workers else {
        hosts.iter_mut().for_each(|host| _ = host.workers.get_or_insert(1));
        return Ok(());
    };
    let workers = u32::try_from(workers).unwrap_or(u32::MAX);
    let named: u32 = hosts.iter().filter_map(|host| host.workers).sum();
    let open = hosts.iter().filter(|host| host.workers.is_none()).count();
    if named > workers || (open == 0 && named != workers) {
        return Err(format!(
            "{workers} workers are wanted, and the hosts' numbers add up to {named}"
        ));
    }
    let shares = shares(workers - named, open);
    for (host, share) in hosts.iter_mut().filter(|host| host.workers.is_none()).zip(shares) {
        host.workers = Some(share);
    }
    Ok(())
}

/// A host that is named twice gets one ssh.
fn merge(hosts: &mut Vec<Host>) {
    let mut merged: Vec<Host> = Vec::new();
    for host in hosts.drain(..) {
        let same = |other: &&mut Host| {
            (&other.user, &other.name, other.port) == (&host.user, &host.name, host.port)
        };
        match merged.iter_mut().find(same) {
            Some(other) => {
                other.workers = Some(other.workers.unwrap_or(0) + host.workers.unwrap_or(0))
            }
            None => merged.push(host),
        }
    }
    *hosts = merged;
}

/// The command that logs in to a host, up to its name.
fn login(host: &Host, wanted: &Wanted<'_>) -> Result<Vec<String>, String> {
    let options = wanted.options;
    let mut command = vec![options.get("ssh").unwrap_or("ssh").to_owned()];
    let mut push = |words: &[&str]| command.extend(words.iter().map(|word| (*word).to_owned()));
    // No terminal, no agent, no windows; a question would never be answered.
    push(&["-T", "-a", "-x", "-C", "-o", "BatchMode=yes", "-o", "ServerAliveInterval=15"]);
    if let Some(identity) = options.get("identity") {
        push(&["-i", identity]);
    }
    let port = match host.port {
        Some(port) => Some(port),
        None => options.number("port", "a port")?,
    };
    if let Some(port) = port {
        push(&["-p", &port.to_string()]);
    }
    for option in options.all("ssh-option") {
        push(&["-o", option]);
    }
    if let Some(user) = host.user.as_deref().or(options.get("user")) {
        push(&["-l", user]);
    }
    Ok(command)
}

fn client(host: &Host, wanted: &Wanted<'_>) -> Result<Client, String> {
    let mut command = login(host, wanted)?;
    let mut push = |words: &[&str]| command.extend(words.iter().map(|word| (*word).to_owned()));
    let driver = match wanted.options.get("tunnel") {
        None => None,
        Some("") => {
            let port = wanted.port;
            push(&["-o", "ExitOnForwardFailure=yes", "-R", &format!("{port}:localhost:{port}")]);
            Some(vec![([127, 0, 0, 1], port).into()])
        }
        Some(value) => return Err(format!("--tunnel takes no value, here is `{value}`")),
    };
    push(&["--", &host.name, &shell()]);
    let workers = host.workers.unwrap_or(1);
    let (host, feed) = (host.name.clone(), Feed::Script);
    Ok(Client { host, workers, command, environment: &[], feed, driver })
}

/// Has any login shell run the script on its standard input.
fn shell() -> String {
    format!("exec /bin/sh -c '{RUN_INPUT}'")
}

#[cfg(test)]
mod tests {
    use super::super::Options;
    use super::*;

    fn plan(
        workers: Option<usize>,
        options: &[(&str, &str)],
    ) -> Result<Vec<(String, u32)>, String> {
        let options: Vec<_> =
            options.iter().map(|(n, v)| ((*n).to_owned(), Some((*v).to_owned()))).collect();
        let options = Options(&options);
        let Plan::Clients(clients) =
            Ssh.plan(&super::super::tests::wanted(workers, &options, None))?
        else {
            panic!("ssh has clients");
        };
        let line = |client: &Client| {
            let words = client.command.join(" ");
            (words.replace(&shell(), "SHELL"), client.workers)
        };
        Ok(clients.iter().map(line).collect())
    }

    const SSH: &str = "ssh -T -a -x -C -o BatchMode=yes -o ServerAliveInterval=15";

    #[test]
    fn one_ssh_for_each_host() {
        let lines = plan(Some(5), &[("hosts", "a,anna@b:2222")]).unwrap();
        assert_eq!(lines[0], (format!("{SSH} -- a SHELL"), 3));
        assert_eq!(lines[1], (format!("{SSH} -p 2222 -l anna -- b SHELL"), 2));
        let lines = plan(None, &[("hosts", "a*2,b,a*3")]).unwrap();
        assert_eq!(lines, [(format!("{SSH} -- a SHELL"), 5), (format!("{SSH} -- b SHELL"), 1)]);
        assert_eq!(plan(Some(1), &[("hosts", "a,b")]).unwrap().len(), 1, "none is left for b");
        assert_eq!(plan(Some(6), &[("hosts", "a*4,b")]).unwrap()[1].1, 2);
        let lines = plan(None, &[("hosts", "a*auto,b*2")]).unwrap();
        assert_eq!(lines.iter().map(|(_, n)| *n).collect::<Vec<_>>(), [7, 2], "`nproc` says 7");
    }

    #[test]
    fn options_become_flags() {
        let options = [
            ("hosts", "[fe80::1]:22,::1"),
            ("user", "eva"),
            ("port", "2200"),
            ("identity", "/key"),
            ("ssh-option", "UserKnownHostsFile=/k"),
            ("ssh-option", "ProxyJump=login"),
        ];
        let lines = plan(None, &options).unwrap();
        let flags = "-o UserKnownHostsFile=/k -o ProxyJump=login";
        assert_eq!(lines[0].0, format!("{SSH} -i /key -p 22 {flags} -l eva -- fe80::1 SHELL"));
        assert_eq!(lines[1].0, format!("{SSH} -i /key -p 2200 {flags} -l eva -- ::1 SHELL"));
        let tunnel = plan(None, &[("hosts", "a"), ("tunnel", "")]).unwrap();
        let forward = "-o ExitOnForwardFailure=yes -R 4000:localhost:4000";
        assert_eq!(tunnel[0].0, format!("{SSH} {forward} -- a SHELL"));
    }

    #[test]
    fn adaptive_workers_have_places_on_all_hosts() {
        assert_eq!(
            places("a*2,eva@b:22*3, c").unwrap(),
            ["a", "eva@b:22", "c", "a", "eva@b:22", "eva@b:22"]
        );
        assert!(places("a*auto").is_err_and(|why| why.contains("as in `a*4`")));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let refused = |workers, hosts: &str, words: &str| {
            let why = plan(workers, &[("hosts", hosts)]).unwrap_err();
            assert!(why.contains(words), "{why}");
        };
        refused(None, "", "--hosts names the hosts");
        refused(None, "a:x", "`a:x` is no host: after `:` a port");
        refused(None, "a:70000", "after `:` a port");
        refused(None, "a*none", "after `*` a number of workers");
        refused(None, "a*0", "after `*` a number of workers");
        refused(None, "@a", "no name that ssh takes");
        refused(None, "-oProxyCommand=x", "no name that ssh takes");
        refused(Some(3), "a*2,b*2", "3 workers are wanted, and the hosts' numbers add up to 4");
        refused(Some(5), "a*2,b*2", "5 workers are wanted, and the hosts' numbers add up to 4");
    }
}
