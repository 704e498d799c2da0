//! A simple HTTP/1.1 client. The test controls every byte that is sent and gets every received
//! byte.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

/// The time limit of each read and write.
const WAIT_LIMIT: Duration = Duration::from_secs(20);

/// A connection to a server on loopback.
pub struct Http {
    stream: BufReader<TcpStream>,
}

/// A response.
#[derive(Clone, Debug)]
pub struct HttpResponse {
    /// The status code.
    pub status: u16,
    /// The headers, with their names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, without the frames of chunks.
    pub body: Vec<u8>,
}

impl HttpResponse {
    /// The value of a header; `name` is in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(given, _)| given == name)
            .map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Http {
    /// Connects to an address: `127.0.0.1:2379` or `http://127.0.0.1:2379`.
    pub fn to(address: &str) -> Http {
        let address = address.strip_prefix("http://").unwrap_or(address);
        let stream = TcpStream::connect(address).expect("it listens");
        stream
            .set_read_timeout(Some(WAIT_LIMIT))
            .expect("a time-out");
        stream
            .set_write_timeout(Some(WAIT_LIMIT))
            .expect("a time-out");
        Http {
            stream: BufReader::new(stream),
        }
    }

    /// Sends bytes unchanged. Returns an error if the server has closed the connection.
    pub fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Closes the sending side.
    pub fn close_sending(&mut self) {
        self.stream
            .get_mut()
            .shutdown(Shutdown::Write)
            .expect("an open connection");
    }

    /// Sends a whole request.
    pub fn request(&mut self, method: &str, path: &str, headers: &[&str], body: &[u8]) {
        let mut bytes = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n",
            body.len()
        );
        for header in headers {
            bytes += header;
            bytes += "\r\n";
        }
        bytes += "\r\n";
        // a response may come before the server has read all of a large body
        let _ = self.send(&[bytes.as_bytes(), body].concat());
    }

    /// Sends a request and waits for the whole response.
    pub fn call(&mut self, method: &str, path: &str, body: &[u8]) -> HttpResponse {
        self.request(method, path, &[], body);
        self.response(method != "HEAD").expect("a response")
    }

    /// Reads one response, to the end of its body.
    pub fn response(&mut self, has_body: bool) -> std::io::Result<HttpResponse> {
        let response = self.head()?;
        if has_body {
            self.body(response)
        } else {
            Ok(response)
        }
    }

    /// Reads the body of a response whose head has been read.
    pub fn body(&mut self, mut response: HttpResponse) -> std::io::Result<HttpResponse> {
        if response.header("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.chunk()? {
                response.body.extend(chunk);
            }
        } else {
            let length = response
                .header("content-length")
                .and_then(|length| length.parse().ok())
                .unwrap_or(0);
            response.body = vec![0; length];
            self.stream.read_exact(&mut response.body)?;
        }
        Ok(response)
    }

    /// Reads the head of a response, without the body.
    pub fn head(&mut self) -> std::io::Result<HttpResponse> {
        let ended = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        let first = self.line()?;
        let status = first
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .ok_or_else(ended)?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(": ") else {
                break;
            };
            headers.push((name.to_lowercase(), value.to_string()));
        }
        Ok(HttpResponse {
            status,
            headers,
            body: Vec::new(),
        })
    }

    /// Reads one chunk; none at the end.
    pub fn chunk(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        let length = usize::from_str_radix(&self.line()?, 16).map_err(std::io::Error::other)?;
        let mut chunk = vec![0; length];
        self.stream.read_exact(&mut chunk)?;
        self.line()?;
        Ok(Some(chunk).filter(|chunk| !chunk.is_empty()))
    }

    /// Reads the next chunk as one JSON text.
    pub fn message(&mut self) -> serde_json::Value {
        let chunk = self
            .chunk()
            .expect("a chunk")
            .expect("the stream continues");
        assert_eq!(
            chunk.last(),
            Some(&b'\n'),
            "one JSON text a line: {}",
            String::from_utf8_lossy(&chunk)
        );
        serde_json::from_slice(&chunk).expect("JSON")
    }

    fn line(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        match self.stream.read_line(&mut line)? {
            0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line.trim_end().to_string()),
        }
    }
}
