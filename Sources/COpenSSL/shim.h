/* OpenSSL's headers, and as functions and numbers what they offer as macros, which Swift cannot see. */
#ifndef SLUICE_COPENSSL_H
#define SLUICE_COPENSSL_H
#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

static inline void sl_BIO_set_retry_read(BIO *b) { BIO_set_retry_read(b); }
static inline void sl_BIO_clear_retry_flags(BIO *b) { BIO_clear_retry_flags(b); }
static inline long sl_BIO_get_mem_data(BIO *b, char **data) { return BIO_get_mem_data(b, data); }

static inline long sl_SSL_CTX_set_mode(SSL_CTX *c, long mode) { return SSL_CTX_set_mode(c, mode); }
static inline int sl_SSL_CTX_set_min_proto_version(SSL_CTX *c, int version) {
    return SSL_CTX_set_min_proto_version(c, version);
}
static inline long sl_SSL_CTX_set_session_cache_mode(SSL_CTX *c, long mode) {
    return SSL_CTX_set_session_cache_mode(c, mode);
}
static inline void sl_SSL_CTX_set_servername_callback(SSL_CTX *c, int (*callback)(SSL *, int *, void *), void *arg) {
    SSL_CTX_set_tlsext_servername_callback(c, callback);
    SSL_CTX_set_tlsext_servername_arg(c, arg);
}
static inline int sl_SSL_set_tlsext_host_name(SSL *s, const char *name) {
    return (int)SSL_set_tlsext_host_name(s, name);
}

static inline STACK_OF(X509) *sl_sk_X509_new(void) { return sk_X509_new_null(); }
static inline int sl_sk_X509_push(STACK_OF(X509) *stack, X509 *x) { return sk_X509_push(stack, x); }
static inline void sl_sk_X509_free(STACK_OF(X509) *stack) { sk_X509_pop_free(stack, X509_free); }

/* Without a callback OpenSSL would ask the terminal for the password of an encrypted key, and wait. */
static inline int sl_no_password(char *buffer, int size, int writing, void *arg) {
    (void)buffer, (void)size, (void)writing, (void)arg;
    return -1;
}
static inline X509 *sl_PEM_read_X509(BIO *b) { return PEM_read_bio_X509(b, NULL, sl_no_password, NULL); }
static inline EVP_PKEY *sl_PEM_read_PrivateKey(BIO *b) {
    return PEM_read_bio_PrivateKey(b, NULL, sl_no_password, NULL);
}

static inline int sl_EVP_MAC_set_sha256(EVP_MAC_CTX *c, const unsigned char *key, size_t count) {
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)key, count),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)"SHA256", 0),
        OSSL_PARAM_construct_end(),
    };
    return EVP_MAC_CTX_set_params(c, params);
}

static inline EVP_PKEY *sl_PEM_read_PublicKey(BIO *b) { return PEM_read_bio_PUBKEY(b, NULL, sl_no_password, NULL); }

/* Big numbers are handed over in the machine's own byte order, as OSSL_PARAM has it. NULL: no valid key. */
static inline EVP_PKEY *sl_EVP_PKEY_from(const char *type, OSSL_PARAM *params) {
    EVP_PKEY *key = NULL;
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    if (c == NULL) return NULL;
    if (EVP_PKEY_fromdata_init(c) != 1 || EVP_PKEY_fromdata(c, &key, EVP_PKEY_PUBLIC_KEY, params) != 1) key = NULL;
    EVP_PKEY_CTX_free(c);
    return key;
}
static inline EVP_PKEY *sl_EVP_PKEY_rsa(unsigned char *n, size_t nCount, unsigned char *e, size_t eCount) {
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_RSA_N, n, nCount),
        OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_RSA_E, e, eCount),
        OSSL_PARAM_construct_end(),
    };
    return sl_EVP_PKEY_from("RSA", params);
}
static inline EVP_PKEY *sl_EVP_PKEY_p256(unsigned char *point, size_t count) {
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, (char *)"P-256", 0),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, count),
        OSSL_PARAM_construct_end(),
    };
    return sl_EVP_PKEY_from("EC", params);
}
static inline EVP_PKEY *sl_EVP_PKEY_ed25519(const unsigned char *key, size_t count) {
    return EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key, count);
}
static inline int sl_EVP_PKEY_is_p256(EVP_PKEY *key) {
    char name[64];
    size_t count = 0;
    return EVP_PKEY_get_base_id(key) == EVP_PKEY_EC && EVP_PKEY_get_group_name(key, name, sizeof name, &count) == 1
        && (OPENSSL_strcasecmp(name, "prime256v1") == 0 || OPENSSL_strcasecmp(name, "P-256") == 0);
}
static inline int sl_EVP_PKEY_is_valid(EVP_PKEY *key) {
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    int valid = c != NULL && EVP_PKEY_public_check_quick(c) == 1;
    EVP_PKEY_CTX_free(c);
    return valid;
}

/* The names of a certificate that are texts: `each` gets GEN_DNS, GEN_URI or GEN_EMAIL. */
static inline void sl_X509_names(
    X509 *x, void (*each)(int type, const unsigned char *text, int count, void *arg), void *arg) {
    GENERAL_NAMES *names = (GENERAL_NAMES *)X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    if (names == NULL) return;
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type != GEN_DNS && name->type != GEN_URI && name->type != GEN_EMAIL) continue;
        each(name->type, ASN1_STRING_get0_data(name->d.ia5), ASN1_STRING_length(name->d.ia5), arg);
    }
    GENERAL_NAMES_free(names);
}
static const int SL_GEN_DNS = GEN_DNS, SL_GEN_URI = GEN_URI, SL_GEN_EMAIL = GEN_EMAIL;

static const uint64_t SL_OP_NO_RENEGOTIATION = SSL_OP_NO_RENEGOTIATION;
static const uint64_t SL_OP_NO_COMPRESSION = SSL_OP_NO_COMPRESSION;
static const uint64_t SL_OP_SERVER_PREFERENCE = SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA;
static const long SL_MODE_RELEASE_BUFFERS = SSL_MODE_RELEASE_BUFFERS;
static const long SL_SESS_CACHE_OFF = SSL_SESS_CACHE_OFF;
static const long SL_SESS_CACHE_CLIENT_EXTERNAL = SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL;
static const int SL_BIO_TYPE_SOURCE_SINK = BIO_TYPE_SOURCE_SINK;
static const int SL_BIO_CTRL_FLUSH = BIO_CTRL_FLUSH;
static const unsigned long SL_NAME_RFC2253 = XN_FLAG_RFC2253;
#endif
