import Foundation
import Glibc

/// Certificates made once a process by the `openssl` command, in a folder that goes when the process ends.
enum TLSCertificates {
    /// A file such as `ca.pem`, `default.pem`, `default.key`.
    static func path(_ name: String) -> String { folder + "/" + name }

    private static let folder: String = {
        let folder = NSTemporaryDirectory() + "sluice-tls-\(getpid())"
        do {
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            let shell = Process()
            shell.executableURL = URL(fileURLWithPath: "/bin/sh")
            shell.arguments = ["-e", "-c", script]
            shell.currentDirectoryURL = URL(fileURLWithPath: folder)
            try shell.run()
            shell.waitUntilExit()
            precondition(shell.terminationStatus == 0, "the openssl command could not make the certificates")
        } catch {
            preconditionFailure("no certificates: \(error)")
        }
        atexit { try? FileManager.default.removeItem(atPath: TLSCertificates.folder) }
        return folder
    }()

    /// `issue NAME SUBJECT ISSUER DAYS EXTENSIONS…` makes NAME.key and NAME.pem, with a P-256 key.
    private static let script = """
        exec 2>log
        ec() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out $1.key; }
        root() {
          ec $1
          openssl req -x509 -new -key $1.key -subj "/CN=$2" -days 30 -out $1.pem \
            -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,digitalSignature
        }
        sign() {
          name=$1; subject=$2; issuer=$3; days=$4; shift 4
          printf '%s\\n' "$@" > $name.ext
          openssl req -new -key $name.key -subj "$subject" -out $name.csr
          openssl x509 -req -in $name.csr -CA $issuer.pem -CAkey $issuer.key -CAcreateserial -days $days \
            -extfile $name.ext -out $name.pem
        }
        root ca "Test CA"
        root other-ca "Another CA"
        root self-signed "default.test"
        ec default
        sign default /CN=default.test ca 30 "subjectAltName=DNS:default.test,DNS:localhost,IP:127.0.0.1,IP:::1"
        openssl genrsa -out second.key 2048
        sign second /CN=second.test ca 30 subjectAltName=DNS:second.test
        ec wildcard
        sign wildcard "/CN=any wild" ca 30 "subjectAltName=DNS:*.wild.test"
        ec exact
        sign exact /CN=exact ca 30 subjectAltName=DNS:exact.wild.test
        ec common-name
        sign common-name /CN=named.test ca 30 basicConstraints=CA:FALSE
        ec expired
        sign expired /CN=default.test ca -1 subjectAltName=DNS:default.test
        ec middle
        sign middle "/CN=Intermediate CA" ca 30 basicConstraints=critical,CA:TRUE
        ec chained
        sign chained /CN=chained.test middle 30 subjectAltName=DNS:chained.test
        cat chained.pem middle.pem > chain.pem
        (cat chained.pem; head -c 300 middle.pem; echo; echo -----END CERTIFICATE-----) > damaged-chain.pem
        ec client
        sign client "/O=Sluice/CN=client, one" ca 30 extendedKeyUsage=clientAuth \
          "subjectAltName=DNS:one.test,URI:spiffe://example.test/one,email:one@example.test,IP:192.0.2.1"
        ec stranger
        sign stranger /CN=stranger other-ca 30 extendedKeyUsage=clientAuth
        openssl pkey -in default.key -aes256 -passout pass:secret -out encrypted.key
        echo nothing > garbage.pem
        """
}
