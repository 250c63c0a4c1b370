import Foundation
import SluiceBytes
import SluiceConfig
import SluiceIO
import Testing

@testable import SluiceProxy

/// Tokens of RFC 7515 appendix A and RFC 8037 appendix A.4, and what must not pass.
@Suite struct JWTVerifierTests {
    private static let secret =
        "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"
    private static let modulus =
        "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJ"
        + "PMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS"
        + "-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbB"
        + "YUsLA9e-KXBdQOS-UTo7WTBEMa2R2"
        + "CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9"
        + "iaGNj8q2ethFkMLs91kzk2PAcDTW9"
        + "gb54h4FRWyuXpoQ"
    private static let payload =
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19y"
        + "b290Ijp0cnVlfQ"
    private static let hs256 =
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." + payload + ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    private static let rs256 =
        "eyJhbGciOiJSUzI1NiJ9." + payload
        + ".cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_l"
        + "F5YKt_O8W2Fp5jujGbds9uJdbF9CU"
        + "Ar7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07"
        + "Qe7K0GarZRmB_eSN9383LcOLn6_dO--"
        + "xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98r"
        + "qVt5AXLIhWkWywlVmtVrBp0igcN_Ioy"
        + "pGlUPQGe77Rw"
    private static let es256 =
        "eyJhbGciOiJFUzI1NiJ9." + payload
        + ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
    private static let set = """
        {"keys":[
          {"kty":"oct","kid":"s","k":"\(secret)"},
          {"kty":"RSA","kid":"r","use":"sig","n":"\(modulus)","e":"AQAB"},
          {"kty":"EC","crv":"P-256","kid":"e","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
           "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"},
          {"kty":"OKP","crv":"Ed25519","kid":"o","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
          {"kty":"EC","crv":"P-521","kid":"unknown","x":"AA","y":"AA"},
          {"kty":"RSA","kid":"enc","use":"enc","n":"AA","e":"AA"}]}
        """
    /// Before the end of the RFC's tokens.
    private static let time = 1_300_819_000

    private func verifier(
        _ algorithms: [JWTSpec.Algorithm] = [.hs256], set: String = Self.set,
        _ change: (inout JWTSpec) -> Void = { _ in }
    ) throws -> JWTVerifier {
        var spec = JWTSpec(algorithms: algorithms, keys: .jwks(""))
        spec.subjectClaim = "iss"
        change(&spec)
        return try JWTVerifier(spec, keys: try JSONWebKey.set(Array(set.utf8), for: algorithms))
    }

    private func outcome(_ verifier: JWTVerifier, _ token: String, at time: Int = Self.time) -> String {
        do throws(JWTVerifier.Refusal) {
            let claims = try verifier.verify(Array(token.utf8), at: time)
            return claims.missing.map { "\(claims.subject) without \($0)" } ?? claims.subject
        } catch {
            return "\(error)"
        }
    }

    private static func text(_ bytes: some Sequence<UInt8>) -> String {
        Data(bytes).base64EncodedString().replacing("+", with: "-").replacing("/", with: "_").replacing("=", with: "")
    }

    /// Signed with the RFC's secret.
    private func token(_ claims: String, header: String = #"{"alg":"HS256"}"#) throws -> String {
        let message = Self.text(header.utf8) + "." + Self.text(claims.utf8)
        let key = try #require(Base64URL.decode(Self.secret.utf8))
        let bytes = Array(message.utf8)
        return message + "." + Self.text(try Digest.hmacSHA256(key: key.span, bytes.span))
    }

    // MARK: - What the standards say

    @Test func theTokensOfTheStandards() throws {
        let all = try verifier([.hs256, .rs256, .es256, .edDSA])
        for token in [Self.hs256, Self.rs256, Self.es256] { #expect(outcome(all, token) == "joe") }
        let key = try SignatureKey(
            ed25519: #require(Base64URL.decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo".utf8)))
        let message = Array("eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc".utf8)
        let signature = try #require(
            Base64URL.decode(
                "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg".utf8))
        #expect(key.verifies(signature, of: message))
        #expect(!key.verifies(signature, of: message + [0]))
        #expect(!key.verifies(signature + [0], of: message))
        #expect(!key.verifies([], of: message))
    }

    @Test func onlyTheRoutesAlgorithms() throws {
        #expect(outcome(try verifier([.rs256]), Self.hs256).contains("algorithm"))
        #expect(outcome(try verifier([.hs256]), Self.rs256).contains("algorithm"))
        for alg in ["none", "None", "NONE", "", "hs256", "HS512", "PS256"] {
            let parts = try token(#"{"iss":"joe","exp":1300819380}"#, header: "{\"alg\":\"\(alg)\"}")
            #expect(outcome(try verifier(), parts).contains("algorithm"), "\(alg)")
            let unsigned = parts.split(separator: ".").prefix(2).joined(separator: ".") + "."
            #expect(outcome(try verifier(), unsigned).contains("algorithm"), "\(alg)")
        }
        #expect(
            outcome(try verifier(), try token(#"{"iss":"joe","exp":1300819380}"#, header: "{}")).contains("algorithm"))
    }

    /// The public key's bytes as the secret of an HMAC: the verifier never takes a public key for one.
    @Test func aPublicKeyIsNoSecret() throws {
        let both = try verifier([.hs256, .rs256])
        let modulus = try #require(Base64URL.decode(Self.modulus.utf8))
        let message = Array((Self.text(#"{"alg":"HS256","kid":"r"}"#.utf8) + "." + Self.payload).utf8)
        let forged = Self.text(try Digest.hmacSHA256(key: modulus.span, message.span))
        #expect(outcome(both, String(decoding: message, as: UTF8.self) + "." + forged).contains("no key fits"))
        #expect(throws: SignatureKeyError.self) { try verifier([.hs256], set: #"{"keys":[]}"#) }
    }

    @Test func kidSelects() throws {
        let claims = #"{"iss":"joe","exp":1300819380}"#
        let verifier = try verifier()
        #expect(outcome(verifier, try token(claims, header: #"{"alg":"HS256","kid":"s"}"#)) == "joe")
        for kid in [#""r""#, #""""#, #""s\u0000""#, #""S""#] {
            let header = "{\"alg\":\"HS256\",\"kid\":\(kid)}"
            #expect(outcome(verifier, try token(claims, header: header)).contains("no key fits"), "\(kid)")
        }
        #expect(outcome(verifier, try token(claims, header: #"{"alg":"HS256","kid":1}"#)).contains("kid"))
    }

    @Test func extensionsThatMustBeUnderstoodAreNot() throws {
        for crit in [#"["exp"]"#, "[]", #"["b64"]"#, "null"] {
            let header = "{\"alg\":\"HS256\",\"crit\":\(crit),\"b64\":false}"
            let token = try token(#"{"iss":"joe","exp":1300819380}"#, header: header)
            #expect(outcome(try verifier(), token).contains("critical"), "\(crit)")
        }
    }

    // MARK: - Claims

    @Test(arguments: [
        (#""exp":1300819029"#, Self.time + 30, "expired"),
        (#""exp":1300819029"#, Self.time + 58, "joe"),
        (#""exp":1300819029"#, Self.time + 59, "expired"),
        (#""exp":1.300819029e9"#, Self.time, "joe"),
        (#""exp":1300819029.5,"nbf":1300819030"#, Self.time, "joe"),
        (#""exp":1300819380,"nbf":1300819031"#, Self.time, "not valid yet"),
        (#""exp":"1300819380""#, Self.time, "exp is no number"),
        (#""exp":1e999"#, Self.time, "exp is no number"),
        (#""exp":null"#, Self.time, "exp is no number"),
        (#""exp":1300819380,"nbf":[1]"#, Self.time, "nbf is no number"),
        (#""nbf":1"#, Self.time, "never expires"),
    ])
    func times(claims: String, time: Int, wanted: String) throws {
        let late = wanted == "expired" && time == Self.time + 30
        let verifier = try verifier { if late { $0.leeway = .zero } }
        let result = outcome(verifier, try token("{\"iss\":\"joe\",\(claims)}"), at: time)
        #expect(result.contains(wanted), "\(claims): \(result)")
    }

    @Test(arguments: [
        (#""us""#, "joe"), (#"["them","us"]"#, "joe"), (#"["them"]"#, "audience"), (#""them""#, "audience"),
        ("[]", "audience"), (#"[["us"]]"#, "audience"), (#"{"us":"us"}"#, "audience"), ("null", "audience"),
    ])
    func audiences(aud: String, wanted: String) throws {
        let token = try token("{\"iss\":\"joe\",\"exp\":1300819380,\"aud\":\(aud)}")
        #expect(outcome(try verifier { $0.audiences = ["us", "we"] }, token).contains(wanted))
        // Without an audience of our own it is always for somebody else.
        #expect(outcome(try verifier(), token).contains("audience"))
    }

    @Test func issuerSubjectAndClaims() throws {
        #expect(outcome(try verifier { $0.issuer = "joe" }, Self.hs256) == "joe")
        #expect(outcome(try verifier { $0.issuer = "jo" }, Self.hs256).contains("issuer"))
        #expect(outcome(try verifier { $0.audiences = ["us"] }, Self.hs256).contains("audience"))
        #expect(outcome(try verifier { $0.subjectClaim = "sub" }, Self.hs256).contains("subject"))
        for subject in [#""""#, #""a\u0000b""#, #""a\nb""#, "7", "\"\(String(repeating: "x", count: 257))\""] {
            let token = try token("{\"exp\":1300819380,\"sub\":\(subject)}")
            #expect(outcome(try verifier { $0.subjectClaim = "sub" }, token).contains("subject"), "\(subject)")
        }
        let claims = #"{"iss":"joe","exp":1300819380,"scope":"read chat","roles":["a","admin"],"paid":true}"#
        for (name, glob, wanted) in [
            ("scope", "chat", "joe"), ("scope", "write", "joe without scope"), ("roles", "adm*", "joe"),
            ("roles", "b", "joe without roles"), ("paid", "true", "joe"), ("plan", "*", "joe without plan"),
        ] {
            #expect(outcome(try verifier { $0.claims = [(name, glob)] }, try token(claims)) == wanted)
        }
    }

    // MARK: - Forms

    @Test func namesThatStandTwice() throws {
        #expect(outcome(try verifier(), try token(#"{"iss":"joe","exp":1,"exp":1300819380}"#)).contains("twice"))
        let header = #"{"alg":"HS256","alg":"none"}"#
        #expect(
            outcome(try verifier(), try token(#"{"iss":"joe","exp":1300819380}"#, header: header)).contains("twice"))
        let escaped = #"{"iss":"joe","exp":1300819380,"\u0065xp":1}"#
        #expect(outcome(try verifier(), try token(escaped)).contains("twice"))
    }

    @Test func everyChangedByteIsNoticed() throws {
        let all = try verifier([.hs256, .rs256, .es256])
        for token in [Self.hs256, Self.rs256, Self.es256] {
            let bytes = Array(token.utf8)
            for index in bytes.indices {
                for byte in [UInt8(ascii: "A"), UInt8(ascii: "="), UInt8(ascii: "."), UInt8(ascii: "+"), 0] {
                    guard bytes[index] != byte else { continue }
                    var changed = bytes
                    changed[index] = byte
                    #expect(throws: JWTVerifier.Refusal.self, "\(index)") { try all.verify(changed, at: Self.time) }
                }
            }
        }
    }

    @Test func onlyOneWayToWriteAToken() throws {
        let verifier = try verifier([.hs256, .es256])
        for changed in [
            Self.hs256 + "=", Self.hs256 + ".", "." + Self.hs256, Self.hs256 + " ", Self.hs256 + "A", "", "..", "a.b",
            String(Self.hs256.dropLast()), Self.hs256.replacing("-", with: "+"), Self.es256 + "AAAA",
            // The last character has two bits that say nothing; other ones than 0 would be another text for the same bytes.
            String(Self.hs256.dropLast()) + "l",
        ] {
            #expect(throws: JWTVerifier.Refusal.self, "\(changed)") {
                try verifier.verify(Array(changed.utf8), at: Self.time)
            }
        }
        let large = #"{"iss":"joe","exp":1300819380,"x":"\#(String(repeating: "x", count: 16 << 10))"}"#
        #expect(outcome(verifier, try token(large)).contains("longer"))
        let invalid = Self.text(#"{"alg":"HS256"}"#.utf8) + "." + Self.text([0x22, 0xFF, 0x22])
        #expect(outcome(verifier, invalid + ".AA").contains("signature"))
    }

    /// r and s of 32 bytes each, and no DER.
    @Test func signaturesOfES256() throws {
        let verifier = try verifier([.es256])
        let parts = Self.es256.split(separator: ".").map(String.init)
        let signature = try #require(Base64URL.decode(parts[2].utf8))
        let der = try #require(SignatureKey.der(signature))
        for bytes in [der, [0] + signature, Array(signature.dropLast()), [UInt8](repeating: 0, count: 64)] {
            let token = parts[0] + "." + parts[1] + "." + Self.text(bytes)
            #expect(outcome(verifier, token).contains("signature"))
        }
    }

    @Test(arguments: [
        #"{"keys":{}}"#, "[]", "", #"{"keys":[{"kty":"RSA","n":"AQ","e":"AQAB"}]}"#,
        #"{"keys":[{"kty":"oct","k":"c2hvcnQ"}]}"#,
        #"{"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","#
            + #""y":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"}]}"#,
        #"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","d":"AA"}]}"#,
        #"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AA"}]}"#,
    ])
    func setsThatAreNone(set: String) {
        #expect(throws: SignatureKeyError.self) {
            try JSONWebKey.set(Array(set.utf8), for: [.hs256, .rs256, .es256, .edDSA])
        }
    }
}

extension SignatureKey {
    /// As `verifies` hands it to OpenSSL.
    static func der(_ raw: [UInt8]) -> [UInt8]? {
        guard raw.count == 64 else { return nil }
        func integer(_ bytes: ArraySlice<UInt8>) -> [UInt8] {
            let digits = Array(bytes.drop { $0 == 0 })
            let body = (digits.first ?? 0x80) >= 0x80 ? [0] + digits : digits
            return [2, UInt8(body.count)] + body
        }
        let body = integer(raw[..<32]) + integer(raw[32...])
        return [0x30, UInt8(body.count)] + body
    }
}
