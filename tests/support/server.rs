//! Small web servers on loopback that say what a test tells them to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What a client asked for.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Bytes of an answer, head and body; the connection is closed after them.
pub type Reply = Vec<u8>;

/// A status, headers and a body as one answer.
pub fn reply(status: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    let mut bytes =
        format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n", body.len()).into_bytes();
    for (name, value) in headers {
        bytes.extend(format!("{name}: {value}\r\n").into_bytes());
    }
    bytes.extend(b"\r\n");
    bytes.extend(body);
    bytes
}

/// Runs until the test's process ends.
pub struct Server {
    pub port: u16,
    scheme: &'static str,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub fn start(answer: impl Fn(&Request, usize) -> Reply + Send + 'static) -> Self {
        Self::accept("http", move |mut stream, seen| serve(&mut stream, &answer, seen))
    }

    /// The same with an answer that is written as the test likes: in pieces, or with pauses between them.
    pub fn start_streaming(answer: impl Fn(&Request, usize, &mut dyn Write) + Send + 'static) -> Self {
        Self::accept("http", move |mut stream, seen| {
            if let Some((request, number)) = receive(&mut stream, seen) {
                answer(&request, number, &mut stream);
            }
        })
    }

    /// The same over TLS, with a certificate that nobody knows; it comes along as PEM.
    pub fn start_tls(answer: impl Fn(&Request, usize) -> Reply + Send + 'static) -> (Self, String) {
        let (config, pem) = self_signed(|_| {});
        let server = Self::accept("https", move |stream, seen| {
            let connection = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut stream = rustls::StreamOwned::new(connection, stream);
            serve(&mut stream, &answer, seen);
            stream.conn.send_close_notify();
            let _ = stream.flush();
        });
        (server, pem)
    }

    /// A server that answers any number of requests at once, over TLS if it is given what for.
    pub fn start_parallel(
        tls: Option<Arc<rustls::ServerConfig>>,
        answer: impl Fn(&mut Exchange<'_>) + Send + Sync + 'static,
    ) -> Self {
        let answer = Arc::new(answer);
        let scheme = if tls.is_some() { "https" } else { "http" };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let requests = seen.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, answer, requests, tls) =
                    (stream.unwrap(), answer.clone(), requests.clone(), tls.clone());
                std::thread::spawn(move || match tls {
                    None => Exchange::serve(&mut stream, &*answer, &requests),
                    Some(config) => {
                        let connection = rustls::ServerConnection::new(config).unwrap();
                        let mut stream = rustls::StreamOwned::new(connection, stream);
                        Exchange::serve(&mut stream, &*answer, &requests);
                        stream.conn.send_close_notify();
                        let _ = stream.flush();
                    }
                });
            }
        });
        Self { port, scheme, seen }
    }

    fn accept(
        scheme: &'static str,
        handle: impl Fn(TcpStream, &Mutex<Vec<Request>>) + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let requests = seen.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                handle(stream.unwrap(), &requests);
            }
        });
        Self { port, scheme, seen }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}://127.0.0.1:{}{path}", self.scheme, self.port)
    }

    /// All requests so far.
    pub fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }
}

fn serve<S: Read + Write>(
    stream: &mut S,
    answer: &dyn Fn(&Request, usize) -> Reply,
    seen: &Mutex<Vec<Request>>,
) {
    if let Some((request, number)) = receive(stream, seen) {
        let _ = stream.write_all(&answer(&request, number));
    }
}

/// A certificate for 127.0.0.1 that nobody knows, as `change` makes it, and what a server does with it; as PEM too.
pub fn self_signed(
    change: impl FnOnce(&mut rcgen::CertificateParams),
) -> (Arc<rustls::ServerConfig>, String) {
    let mut params = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    change(&mut params);
    let key = rcgen::KeyPair::generate().unwrap();
    let made = params.self_signed(&key).unwrap();
    let der = rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.der().clone()], der.into())
        .unwrap();
    (Arc::new(config), made.pem())
}

/// Both ways of a connection.
trait Duplex: Read + Write {}
impl<T: Read + Write> Duplex for T {}

/// One request whose body may still be on its way, and its answer.
pub struct Exchange<'a> {
    /// Without its body until that was read.
    pub request: Request,
    /// From 1.
    pub number: usize,
    stream: BufReader<&'a mut dyn Duplex>,
    seen: &'a Mutex<Vec<Request>>,
}

impl<'a> Exchange<'a> {
    fn serve(stream: &'a mut dyn Duplex, answer: &dyn Fn(&mut Exchange<'_>), seen: &'a Mutex<Vec<Request>>) {
        let mut stream = BufReader::new(stream);
        let Some(request) = head(&mut stream) else { return };
        let number = {
            let mut seen = seen.lock().unwrap();
            seen.push(request.clone());
            seen.len()
        };
        answer(&mut Exchange { request, number, stream, seen });
    }

    /// Reads the body, asked for first if the client waits for that. False if it did not all come.
    pub fn read_body(&mut self) -> bool {
        let length =
            self.request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        self.read_part(length)
    }

    /// Reads so much of the body.
    pub fn read_part(&mut self, length: usize) -> bool {
        if self.request.header("expect").is_some() {
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        let mut body = vec![0; length];
        let whole = self.stream.read_exact(&mut body).is_ok();
        self.request.body = body;
        self.seen.lock().unwrap()[self.number - 1].body.clone_from(&self.request.body);
        whole
    }

    pub fn write(&mut self, bytes: &[u8]) {
        let stream = self.stream.get_mut();
        let _ = stream.write_all(bytes).and_then(|()| stream.flush());
    }

    /// Whether the client is still there to be written to.
    pub fn writes(&mut self, bytes: &[u8]) -> bool {
        let stream = self.stream.get_mut();
        stream.write_all(bytes).and_then(|()| stream.flush()).is_ok()
    }
}

/// Reads a request and notes it; gives its number too, from 1.
fn receive(stream: &mut impl Read, seen: &Mutex<Vec<Request>>) -> Option<(Request, usize)> {
    let mut reader = BufReader::new(stream);
    let mut request = head(&mut reader)?;
    if let Some(length) = request.header("content-length").and_then(|length| length.parse().ok()) {
        request.body.resize(length, 0);
        reader.read_exact(&mut request.body).ok()?;
    }
    let mut seen = seen.lock().unwrap();
    seen.push(request.clone());
    Some((request, seen.len()))
}

/// Reads what comes before a body.
fn head(reader: &mut impl BufRead) -> Option<Request> {
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|got| *got > 0).map(|_| line.trim_end().to_owned())
    };
    let first = line()?;
    let mut words = first.split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let headers = std::iter::from_fn(line)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_once(':').map(|(n, v)| (n.to_ascii_lowercase(), v.trim().to_owned())))
        .collect();
    Some(Request { method, path, headers, body: Vec::new() })
}
