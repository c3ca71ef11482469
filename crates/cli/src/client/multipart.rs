//! A form of several parts, as uploads are.

use std::fmt::Write as _;

/// A form being written.
pub struct Form {
    boundary: String,
    body: Vec<u8>,
}

impl Form {
    /// The boundary is of this moment and process, so that no content has it but by intent.
    pub fn new() -> Self {
        let mut boundary = String::from("selvedge-");
        let random = blake3::hash(format!("{:?} {}", std::time::SystemTime::now(), std::process::id()).as_bytes());
        let _ = write!(boundary, "{}", random.to_hex());
        Self { boundary, body: Vec::new() }
    }

    /// A field without a file name or type.
    pub fn field(&mut self, name: &str, text: &str) {
        self.begin(name, None, None);
        self.body.extend_from_slice(text.as_bytes());
        self.body.extend_from_slice(b"\r\n");
    }

    /// A file whose name is the part's.
    pub fn file(&mut self, name: &str, content_type: &str, content: &[u8]) {
        self.begin(name, Some(name), Some(content_type));
        self.body.extend_from_slice(content);
        self.body.extend_from_slice(b"\r\n");
    }

    /// The form's media type, and the form.
    pub fn finish(mut self) -> (String, Vec<u8>) {
        self.body.extend_from_slice(format!("--{}--\r\n", self.boundary).as_bytes());
        (format!("multipart/form-data; boundary={}", self.boundary), self.body)
    }

    fn begin(&mut self, name: &str, file: Option<&str>, content_type: Option<&str>) {
        let mut head = format!("--{}\r\nContent-Disposition: form-data; name=\"{}\"", self.boundary, escaped(name));
        if let Some(file) = file {
            let _ = write!(head, "; filename=\"{}\"", escaped(file));
        }
        head.push_str("\r\n");
        if let Some(content_type) = content_type {
            let _ = write!(head, "Content-Type: {content_type}\r\n");
        }
        head.push_str("\r\n");
        self.body.extend_from_slice(head.as_bytes());
    }
}

/// As browsers write names: what would end the quotes or the line is escaped.
fn escaped(name: &str) -> String {
    name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_written_as_it_is_read() {
        let mut form = Form::new();
        form.field("metadata", "{}");
        form.file("a\"b.js", "application/javascript+module", b"export {}");
        let (kind, body) = form.finish();
        let boundary = kind.strip_prefix("multipart/form-data; boundary=").unwrap();
        let expected = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"metadata\"\r\n\r\n{{}}\r\n\
             --{boundary}\r\nContent-Disposition: form-data; name=\"a%22b.js\"; filename=\"a%22b.js\"\r\n\
             Content-Type: application/javascript+module\r\n\r\nexport {{}}\r\n--{boundary}--\r\n"
        );
        assert_eq!(String::from_utf8(body).unwrap(), expected);
    }
}
