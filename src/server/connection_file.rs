//! The connection file: where the sockets are, and the key that signs messages.

use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tempfile::NamedTempFile;
use uuid::Uuid;

use super::Error;

/// How clients reach the sockets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// Over the network.
    #[default]
    Tcp,
    /// Over files on this machine.
    Ipc,
}

/// One number for each socket; 0 where the kernel chooses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ports {
    /// Requests.
    #[serde(rename = "shell_port")]
    pub shell: u16,
    /// Publications.
    #[serde(rename = "iopub_port")]
    pub iopub: u16,
    /// Questions.
    #[serde(rename = "stdin_port")]
    pub stdin: u16,
    /// Urgent requests.
    #[serde(rename = "control_port")]
    pub control: u16,
    /// Echo.
    #[serde(rename = "hb_port")]
    pub heartbeat: u16,
}

/// What the connection file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionFile {
    /// How the sockets are reached.
    #[serde(default)]
    pub transport: Transport,
    /// Address, or the beginning of the socket files' path.
    #[serde(default = "here")]
    pub ip: String,
    /// The sockets.
    #[serde(flatten)]
    pub ports: Ports,
    /// Signs the messages; empty for unsigned ones.
    #[serde(default)]
    pub key: String,
    /// How they are signed.
    #[serde(default = "hmac_sha256")]
    pub signature_scheme: String,
    /// Whatever else it says, kept for the clients that wrote it.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

fn here() -> String {
    "127.0.0.1".to_owned()
}

fn hmac_sha256() -> String {
    "hmac-sha256".to_owned()
}

impl ConnectionFile {
    /// Reads the file. Where there is none: this machine, any ports, a new key.
    ///
    /// # Errors
    /// Where the file exists but cannot be read, is no JSON of the right shape, or asks for an
    /// unknown signature scheme.
    pub fn load(path: &Path) -> Result<ConnectionFile, Error> {
        let text = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::new()),
            other => other.map_err(|source| Error::File { path: path.to_owned(), source })?,
        };
        let parsed = serde_json::from_slice(&text);
        let file: ConnectionFile =
            parsed.map_err(|source| Error::Format { path: path.to_owned(), source })?;
        if file.signature_scheme != hmac_sha256() {
            return Err(Error::Scheme { scheme: file.signature_scheme });
        }
        Ok(file)
    }

    /// A connection on this machine with any ports and a new key.
    pub fn new() -> ConnectionFile {
        ConnectionFile {
            transport: Transport::Tcp,
            ip: here(),
            ports: Ports::default(),
            key: Uuid::new_v4().to_string(),
            signature_scheme: hmac_sha256(),
            others: Map::new(),
        }
    }

    /// Writes the file, readable by its owner only, in one step.
    ///
    /// # Errors
    /// Where the file's folder cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        self.try_save(path).map_err(|source| Error::File { path: path.to_owned(), source })
    }

    fn try_save(&self, path: &Path) -> io::Result<()> {
        let folder = path.parent().filter(|folder| *folder != Path::new(""));
        let mut file = NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
        file.as_file().set_permissions(Permissions::from_mode(0o600))?;
        file.write_all(&serde_json::to_vec_pretty(self)?)?;
        file.persist(path)?;
        Ok(())
    }

    /// The socket file for one port.
    pub fn ipc_path(&self, port: u16) -> PathBuf {
        PathBuf::from(format!("{}-{port}", self.ip))
    }

    /// The files of all sockets; none for tcp.
    pub fn socket_files(&self) -> Vec<PathBuf> {
        let Ports { shell, iopub, stdin, control, heartbeat } = self.ports;
        match self.transport {
            Transport::Tcp => Vec::new(),
            Transport::Ipc => {
                [shell, iopub, stdin, control, heartbeat].map(|port| self.ipc_path(port)).into()
            }
        }
    }
}

impl Default for ConnectionFile {
    fn default() -> ConnectionFile {
        ConnectionFile::new()
    }
}
